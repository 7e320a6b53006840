-- Two roles: one makes and upgrades the tables, the other, the services', only reads and writes rows.
-- psql -v owner_password=… -v service_password=… -f roles.sql mindgraph
CREATE ROLE mindgraph_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE mindgraph LOGIN PASSWORD :'service_password';

SELECT current_database() AS database \gset
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT, CREATE ON DATABASE :"database" TO mindgraph_owner;
GRANT CONNECT ON DATABASE :"database" TO mindgraph;

CREATE SCHEMA mindgraph AUTHORIZATION mindgraph_owner;
GRANT USAGE ON SCHEMA mindgraph TO mindgraph;
ALTER DEFAULT PRIVILEGES FOR ROLE mindgraph_owner IN SCHEMA mindgraph
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO mindgraph;
ALTER DEFAULT PRIVILEGES FOR ROLE mindgraph_owner IN SCHEMA mindgraph
    GRANT USAGE, SELECT ON SEQUENCES TO mindgraph;
