--
-- PostgreSQL database dump
--

\restrict CsaOv1MD7Es2o1TIOUuUaYMGTsTiAWWtPdA6MbUcCXfa4O7gASe9PpwNTEvdZBA

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: f(text); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.f(a text) RETURNS text
    LANGUAGE plpgsql
    AS $$ begin return 'x;' || a; end; $$;


ALTER FUNCTION public.f(a text) OWNER TO postgres;

--
-- Name: g(integer); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.g(a integer) RETURNS integer
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (a > 1) THEN 2
             ELSE 3
         END AS "case";
END;


ALTER FUNCTION public.g(a integer) OWNER TO postgres;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: orders; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.orders (
    id integer NOT NULL,
    note text,
    amount numeric
);


ALTER TABLE public.orders OWNER TO postgres;

--
-- Name: TABLE orders; Type: COMMENT; Schema: public; Owner: postgres
--

COMMENT ON TABLE public.orders IS 'it; has -- a /* comment';


--
-- Name: v; Type: VIEW; Schema: public; Owner: postgres
--

CREATE VIEW public.v AS
 SELECT count(*) AS count
   FROM public.orders;


ALTER TABLE public.v OWNER TO postgres;

--
-- Name: 16397; Type: BLOB; Schema: -; Owner: postgres
--

SELECT pg_catalog.lo_create('16397');


ALTER LARGE OBJECT 16397 OWNER TO postgres;

--
-- Data for Name: orders; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.orders (id, note, amount) FROM stdin;
1	a 'note' \\ 1	1.5
2	a 'note' \\ 2	3.0
3	a 'note' \\ 3	4.5
4	a 'note' \\ 4	6.0
5	a 'note' \\ 5	7.5
6	a 'note' \\ 6	9.0
7	a 'note' \\ 7	10.5
8	a 'note' \\ 8	12.0
9	a 'note' \\ 9	13.5
10	a 'note' \\ 10	15.0
11	a 'note' \\ 11	16.5
12	a 'note' \\ 12	18.0
13	a 'note' \\ 13	19.5
14	a 'note' \\ 14	21.0
15	a 'note' \\ 15	22.5
16	a 'note' \\ 16	24.0
17	a 'note' \\ 17	25.5
18	a 'note' \\ 18	27.0
19	a 'note' \\ 19	28.5
20	a 'note' \\ 20	30.0
21	a 'note' \\ 21	31.5
22	a 'note' \\ 22	33.0
23	a 'note' \\ 23	34.5
24	a 'note' \\ 24	36.0
25	a 'note' \\ 25	37.5
26	a 'note' \\ 26	39.0
27	a 'note' \\ 27	40.5
28	a 'note' \\ 28	42.0
29	a 'note' \\ 29	43.5
30	a 'note' \\ 30	45.0
31	a 'note' \\ 31	46.5
32	a 'note' \\ 32	48.0
33	a 'note' \\ 33	49.5
34	a 'note' \\ 34	51.0
35	a 'note' \\ 35	52.5
36	a 'note' \\ 36	54.0
37	a 'note' \\ 37	55.5
38	a 'note' \\ 38	57.0
39	a 'note' \\ 39	58.5
40	a 'note' \\ 40	60.0
\.


--
-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -
--

BEGIN;

SELECT pg_catalog.lo_open('16397', 131072);
SELECT pg_catalog.lowrite(0, '\x616263');
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- Name: orders orders_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);


--
-- PostgreSQL database dump complete
--

\unrestrict CsaOv1MD7Es2o1TIOUuUaYMGTsTiAWWtPdA6MbUcCXfa4O7gASe9PpwNTEvdZBA

