-- answers: the days of the record, including days that only history covers
-- grain:   account x date
-- columns: account, date
create or replace view known_days as
select account, date from record_days
union
select account, date from history_days;
