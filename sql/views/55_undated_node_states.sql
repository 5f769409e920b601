-- answers: the states of interrupted nodes, merged over all days, under one date
-- grain:   incarnation x state x state_transition_time
-- columns: date (the same for all), and those of node_states that are merged
create or replace view undated_node_states as
select date '2000-01-01' as date, whole_merged_node_states.*
from whole_merged_node_states;
