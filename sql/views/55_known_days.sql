-- answers: the days of the record, those that history alone covers among them
-- grain:   account x date
-- columns: account, date
create or replace view known_days as
select account, date from record_days
union
select account, date from history_days;
