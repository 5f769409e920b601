-- check:    Facts that history lacks, or has as an older version built them, of expired days
-- severity: warn
-- grain:    account x fact x reason
-- columns:  account, fact, reason, days, first_date, last_date
-- caveats:  The rows of those days had expired when nodelake learned the fact (newer fact), or to
--           build it otherwise (older version), so it cannot be built from them. Queries that read
--           the fact say so too. So it is with a day whose history depends on rows of an expired one.
select
    account,
    fact,
    reason,
    count(*) as days,
    min(date) as first_date,
    max(date) as last_date
from missing_facts
group by account, fact, reason
order by account, fact, reason;
