-- check:    Files that the ledger or a manifest names, and that are not there as it names them
-- severity: fail
-- grain:    file
-- columns:  file
-- caveats:  Restore each from a backup: queries that need one fail and name it. Only missing files
--           and files of another size are found; `nodelake check --deep` reads every byte.
select file
from missing_files
order by file;
