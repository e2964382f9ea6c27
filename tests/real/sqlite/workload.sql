PRAGMA journal_mode = MEMORY;
PRAGMA page_size = 4096;

CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city INTEGER, score REAL);
CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT UNIQUE, country TEXT CHECK (length(country) = 2));
CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT);
CREATE INDEX person_by_city ON person (city, score DESC);
CREATE TRIGGER person_moves AFTER UPDATE OF city ON person WHEN new.city IS NOT old.city
BEGIN
  INSERT INTO audit (what) VALUES (old.id || ': ' || ifnull(old.city, '-') || ' to ' || ifnull(new.city, '-'));
END;

INSERT INTO city (name, country) VALUES
  ('Oslo', 'NO'), ('Wien', 'AT'), ('Lima', 'PE'), ('Accra', 'GH'), ('Kyōto', 'JP'), ('Perth', 'AU');

BEGIN;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
INSERT INTO person SELECT i, printf('person %06d', (i * 7919) % 100003), nullif((i * 31) % 7, 0), (i * 37 % 1000) / 8.0
FROM n;
COMMIT;

SELECT count(*), sum(score), round(avg(score), 6), min(name), max(name), total(city) FROM person;
SELECT digest(id, name, city, score) FROM (SELECT * FROM person ORDER BY name);

SELECT city.name, count(*), round(avg(score), 3), group_concat(DISTINCT cast(score AS INTEGER) % 3)
FROM person LEFT JOIN city ON city.id = person.city
GROUP BY person.city HAVING count(*) > 10 ORDER BY 2 DESC, 1;

SELECT * FROM (
  SELECT name, city, score,
    rank() OVER w AS place, dense_rank() OVER w, row_number() OVER (PARTITION BY city ORDER BY score DESC, id) AS nth,
    lag(name, 1, '-') OVER w, ntile(4) OVER w, round(sum(score) OVER (PARTITION BY city ORDER BY id
      ROWS BETWEEN 2 PRECEDING AND CURRENT ROW), 2)
  FROM person WINDOW w AS (PARTITION BY city ORDER BY score DESC)
) WHERE nth <= 2 ORDER BY city, nth;

UPDATE person SET city = city + 1 WHERE id % 1000 = 0 AND city < 6;
DELETE FROM person WHERE id % 13 = 5;
SELECT count(*), digest(what) FROM audit;
SELECT changes(), (SELECT count(*) FROM person);

WITH RECURSIVE
  xaxis (x) AS (VALUES (-2.0) UNION ALL SELECT x + 0.1 FROM xaxis WHERE x < 1.0),
  yaxis (y) AS (VALUES (-1.0) UNION ALL SELECT y + 0.2 FROM yaxis WHERE y < 1.0),
  m (iter, cx, cy, x, y) AS (
    SELECT 0, x, y, 0.0, 0.0 FROM xaxis, yaxis
    UNION ALL
    SELECT iter + 1, cx, cy, x * x - y * y + cx, 2.0 * x * y + cy FROM m
    WHERE (x * x + y * y) < 4.0 AND iter < 28),
  m2 (iter, cx, cy) AS (SELECT max(iter), cx, cy FROM m GROUP BY cx, cy),
  a (t) AS (SELECT group_concat(substr(' .+*#', 1 + min(iter / 7, 4), 1), '') FROM m2 GROUP BY cy)
SELECT rtrim(t) FROM a;

WITH RECURSIVE
  input (sud) AS (VALUES ('53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79')),
  digits (z, lp) AS (VALUES ('1', 1) UNION ALL SELECT cast(lp + 1 AS TEXT), lp + 1 FROM digits WHERE lp < 9),
  x (s, ind) AS (
    SELECT sud, instr(sud, '.') FROM input
    UNION ALL
    SELECT substr(s, 1, ind - 1) || z || substr(s, ind + 1), instr(substr(s, 1, ind - 1) || z || substr(s, ind + 1), '.')
    FROM x, digits AS z
    WHERE ind > 0 AND NOT EXISTS (
      SELECT 1 FROM digits AS lp
      WHERE z.z = substr(s, ((ind - 1) / 9) * 9 + lp, 1)
        OR z.z = substr(s, ((ind - 1) % 9) + (lp - 1) * 9 + 1, 1)
        OR z.z = substr(s, (((ind - 1) / 3) % 3) * 3 + ((ind - 1) / 27) * 27 + lp + ((lp - 1) / 3) * 6, 1)))
SELECT s FROM x WHERE ind = 0;

CREATE TABLE document (body TEXT);
INSERT INTO document VALUES
  ('{"id": 1, "tags": ["a", "b", {"c": null}], "size": {"w": 1.5, "h": -2e3}}'),
  (json_object('id', 2, 'tags', json_array('x', 3, json('[true]')), 'text', 'Grüße "世界"'));
SELECT json_extract(body, '$.id'), json_type(body, '$.tags'), json_array_length(body, '$.tags') FROM document;
SELECT d.rowid, t.fullkey, t.type, t.atom FROM document AS d, json_tree(d.body) AS t WHERE t.atom IS NOT NULL;
SELECT json_set(body, '$.size.w', 2, '$.new', json('{}')), json_patch(body, '{"tags": null}') FROM document;
SELECT json_group_array(name), json_group_object(country, id) FROM city WHERE id < 4;

SELECT upper('straße'), length('世界'), hex('é'), unicode('世'), char(0x1F600), quote(x'00ff'), typeof(1 / 2.0);
SELECT 9223372036854775807 + 1, 7 / 2, 7 % -3, -7 / 2, 1e308 * 10, 0.1 + 0.2, cast('12abc' AS INTEGER), 5 << 62;
SELECT strftime('%Y-%m-%d %H:%M:%S', 1700000000, 'unixepoch'), julianday('2024-02-29'), date('2024-01-31', '+1 month');
SELECT printf('%.17g|%08.3f|%+d|%x|%s|%q|%5s', 1.0 / 3, 3.14159, 7, 255, 'text', 'it''s', 'ab');
SELECT 'abc' LIKE 'A%', 'abc' GLOB 'a*', 'a_c' LIKE 'a\_c' ESCAPE '\', replace('banana', 'an', '<>'), substr('hello', -3, 2);
SELECT x.column1, x.column2 FROM (VALUES (1, 'one'), (2, 'two'), (3, NULL)) AS x ORDER BY 2 NULLS LAST;
SELECT id FROM city EXCEPT SELECT DISTINCT city FROM person WHERE score > 200 INTERSECT SELECT 3;

SAVEPOINT before;
DELETE FROM person;
SELECT count(*) FROM person;
ROLLBACK TO before;
RELEASE before;
SELECT count(*) FROM person;
INSERT INTO city (id, name, country) VALUES (1, 'Bergen', 'NO')
  ON CONFLICT (id) DO UPDATE SET name = excluded.name || ' (was ' || name || ')' RETURNING id, name;
CREATE VIEW rich AS SELECT city, max(score) AS best FROM person GROUP BY city;
SELECT * FROM rich NATURAL JOIN (SELECT 3 AS city);
CREATE TABLE wide AS SELECT hex(zeroblob(id % 50 * 100)) AS filler, id FROM person WHERE id % 20 = 0;
SELECT count(*), sum(length(filler)) FROM wide;
EXPLAIN QUERY PLAN SELECT * FROM person JOIN city ON city.id = person.city WHERE city = 3 ORDER BY score DESC;
DROP TABLE wide;
VACUUM;
ANALYZE;
SELECT * FROM sqlite_stat1 ORDER BY 1, 2;
PRAGMA integrity_check;
PRAGMA page_count;
