-- check:    Files of history that are gone, of days whose rows have expired
-- severity: fail
-- grain:    account x fact
-- columns:  account, fact, days, first_date, last_date
-- traps:    Nothing can make them again: bring history/FACT/date=… back from a backup. Fact days:
--           the file of history/days itself, without which no fact of that day is read. A day
--           whose rows are there is answered from them, and is not told here.
select
    account,
    fact,
    count(*) as days,
    min(date) as first_date,
    max(date) as last_date
from history_untold
where why = 'missing'
group by account, fact
order by account, fact;
