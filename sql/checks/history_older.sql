-- check:    Facts that history does not tell, or tells as an older nodelake did, of expired days
-- severity: warn
-- grain:    account x fact x reason
-- columns:  account, fact, why, days, first_date, last_date
-- traps:    The rows of those days had expired when nodelake learned the fact (added later), or to
--           make it otherwise (made otherwise), so it cannot be made of them. Queries that read the
--           fact say so too. So it is with a day whose history was made with rows of an expired one.
select
    account,
    fact,
    why,
    count(*) as days,
    min(date) as first_date,
    max(date) as last_date
from history_untold
where why not in ('missing', 'rows missing', 'unmarked')
group by account, fact, why
order by account, fact, why;
