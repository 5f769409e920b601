-- answers: the fleet now: each pool's last complete listing
-- grain:   node
-- columns: those of nodes, and age_seconds (of its pool's listing, now)
-- caveats: Old where polling stopped: look at age_seconds before you trust it; see nodes_as_of.
create or replace view nodes_latest as
select * from nodes_as_of(cast('infinity' as timestamptz), now());
