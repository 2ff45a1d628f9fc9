const SOURCES = { table: found => new Table(found) };
