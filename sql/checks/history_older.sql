-- check:    Facts of expired days that history lacks, or that an older version built
-- severity: warn
-- grain:    account x fact x reason
-- columns:  account, fact, reason, days, first_date, last_date
-- caveats:  The rows of those days had already expired when nodelake added the fact (newer fact) or
--           changed how it builds it (older version), so the fact cannot be rebuilt. Queries that
--           read the fact report this too. The same holds for a day whose history depends on the
--           rows of an expired day.
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
