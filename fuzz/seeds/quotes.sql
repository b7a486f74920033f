-- every way of quoting
SET standard_conforming_strings = on;
SELECT 'it''s; one', E'it\'s \\ ; two', U&'d\0061t', "a ""name"";", $$ a; $b$ b $$, $b$ ; $$ $b$, B'01', 1::int;
/* a ; /* nested */ comment */ SELECT (1 + (2)); SELECT 'a'
  'continued; ';
CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;
COPY public.orders (id, note) FROM stdin;
1	a
2	\\.\n
\.
SELECT 3;
