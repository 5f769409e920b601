-- answers: the fleet now: each pool's last complete listing
-- grain:   node
-- columns: those of nodes, and age_seconds (of its pool's listing, now)
-- caveats: Old where polling stopped: check age_seconds before you use it. See nodes_as_of.
create or replace view nodes_latest as
select * from nodes_as_of(cast('infinity' as timestamptz), now());
