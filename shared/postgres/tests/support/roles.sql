-- Roles that every_kind.sql needs; they belong to the whole server.
CREATE ROLE holdfast_reader NOLOGIN;
CREATE ROLE holdfast_owner LOGIN PASSWORD 'never in a dump';
CREATE ROLE "holdfast Größe" NOLOGIN;
GRANT holdfast_reader TO holdfast_owner;
ALTER ROLE holdfast_owner SET work_mem = '8MB';
