-- answers: the fleet as of a moment: from nodes_at(timestamptz '2026-11-21 12:00:00+00')
-- grain:   node
-- columns: those of nodes, and age_seconds (of its pool's listing, at that moment)
-- caveats: From listings that had finished by then; see nodes_as_of.
create or replace macro nodes_at(moment) as table
select * from nodes_as_of(cast(moment as timestamptz), cast(moment as timestamptz));
