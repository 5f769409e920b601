-- answers: interrupted nodes, merged over all days, under one date
-- grain:   incarnation
-- columns: date (the same for all), and those of node_incarnations that are merged
create or replace view undated_node_incarnations as
select date '2000-01-01' as date, whole_merged_node_incarnations.*
from whole_merged_node_incarnations;
