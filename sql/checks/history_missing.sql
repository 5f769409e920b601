-- check:    Files of history that are gone, of days whose rows have expired
-- severity: fail
-- grain:    account x fact x reason
-- columns:  account, fact, why, days, first_date, last_date
-- traps:    Nothing can make them again: bring history/FACT/date=… back from a backup. Fact days:
--           the file of history/days itself, without which no fact of that day is read. A day
--           whose rows are there is answered from them, and is not told here; but where its history
--           was made with rows of an expired day too (rows missing), those that are left tell less,
--           and no compaction makes it anew: bring history/days back, or delete leaning/date=…/ACCOUNT
--           to have it made from them. Where
--           the rows are gone and no expiry marked the day (unmarked), history stands and is kept.
select
    account,
    fact,
    why,
    count(*) as days,
    min(date) as first_date,
    max(date) as last_date
from history_untold
where why in ('missing', 'rows missing', 'unmarked')
group by account, fact, why
order by account, fact, why;
