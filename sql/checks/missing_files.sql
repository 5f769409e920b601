-- check:    Files named by the ledger or a manifest that are missing or have another size
-- severity: fail
-- grain:    file
-- columns:  file
-- caveats:  Restore each file from a backup: queries that need it fail and name it. This check
--           compares sizes only; `nodelake check --deep` reads every byte.
select file
from missing_files
order by file;
