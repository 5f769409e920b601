-- check:    Runs that met values of the wrong type, or nodes without a valid id
-- severity: warn
-- grain:    account x snapshot
-- columns:  account, snapshot_id, source, malformed, error_code
-- traps:    Their rows stay out of facts about states; what came stands, redacted, in extra_json.
select account, snapshot_id, source, malformed, error_code
from snapshots
where malformed > 0
order by snapshot_id, account;
