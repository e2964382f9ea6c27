/* SQLite, from Debian's sources: a database in memory is filled, indexed, queried and changed by SQL. */
#include "../program.h"

#include "sqlite3.h"

/* What SQLite asks of a system, without files: time stands still, and random numbers are always the same. */
static int open_nothing(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags) {
  (void)vfs, (void)name, (void)file, (void)flags, (void)out_flags;
  return SQLITE_CANTOPEN;
}

static int random_bytes(sqlite3_vfs *vfs, int size, char *out) {
  (void)vfs;
  for (int i = 0; i < size; i++) out[i] = (char)(i * 37 + 11);
  return size;
}

static int current_time(sqlite3_vfs *vfs, double *days) {
  (void)vfs;
  *days = 2460000.5;
  return SQLITE_OK;
}

static int full_path(sqlite3_vfs *vfs, const char *name, int size, char *out) {
  (void)vfs;
  sqlite3_snprintf(size, out, "%s", name);
  return SQLITE_OK;
}

int sqlite3_os_init(void) {
  static sqlite3_vfs vfs = {.iVersion = 1,
                            .szOsFile = sizeof(sqlite3_file),
                            .mxPathname = 64,
                            .zName = "none",
                            .xOpen = open_nothing,
                            .xFullPathname = full_path,
                            .xRandomness = random_bytes,
                            .xCurrentTime = current_time};
  return sqlite3_vfs_register(&vfs, 1);
}

int sqlite3_os_end(void) { return SQLITE_OK; }

static uint64_t hash;

static int row(void *unused, int columns, char **values, char **names) {
  (void)unused, (void)names;
  for (int i = 0; i < columns; i++)
    for (const char *at = values[i] ? values[i] : "NULL"; *at; at++) hash = (hash ^ (unsigned char)*at) * 0x100000001b3u;
  return 0;
}

/* `%d` stands for the size. */
static const char *const statements[] = {
    "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL, kind INTEGER)",
    "CREATE TABLE sale (id INTEGER PRIMARY KEY, product INTEGER REFERENCES product, day INTEGER, amount INTEGER)",
    "BEGIN",
    "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
    " INSERT INTO product SELECT i, printf('product %%05d', i * 7919 %% 10007), 5 + i * 37 %% 1000, nullif(i %% 9, 0) FROM n",
    "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
    " INSERT INTO sale SELECT i, 1 + i * 271 %% 499, i * 31 %% 365, 1 + i %% 13 FROM n",
    "COMMIT",
    "CREATE INDEX sale_by_product ON sale (product, day)",
    "CREATE INDEX product_by_name ON product (name)",
    "SELECT kind, count(*), sum(amount * price), min(name), max(name)"
    " FROM sale JOIN product ON product.id = sale.product GROUP BY kind ORDER BY 3 DESC",
    "SELECT name, (SELECT sum(amount) FROM sale WHERE product = product.id AND day BETWEEN 100 AND 200) AS sold"
    " FROM product WHERE name LIKE '%%42%%' ORDER BY sold DESC, name LIMIT 20",
    "SELECT day, total, sum(total) OVER (ORDER BY day ROWS 6 PRECEDING), rank() OVER (ORDER BY total DESC)"
    " FROM (SELECT day, sum(amount) AS total FROM sale GROUP BY day) ORDER BY day LIMIT 50",
    "UPDATE sale SET amount = amount + 1 WHERE product IN (SELECT id FROM product WHERE price %% 7 = 3)",
    "DELETE FROM sale WHERE day %% 11 = 4",
    "SELECT upper(substr(name, 3, 8)) || '-' || length(name), count(DISTINCT day), group_concat(DISTINCT amount)"
    " FROM product LEFT JOIN sale ON product.id = sale.product WHERE product.id < 40 GROUP BY product.id ORDER BY 1",
    "SELECT count(*), sum(amount), sum(id %% 1000) FROM sale WHERE id IN (SELECT id FROM sale WHERE amount > 5 EXCEPT"
    " SELECT id FROM sale WHERE day > 300)",
    "PRAGMA integrity_check",
};

int64_t run(int32_t n) {
  sqlite3 *database;
  hash = 0;
  if (sqlite3_open(":memory:", &database) != SQLITE_OK) return -1;
  for (size_t i = 0; i < COUNT(statements); i++) {
    char *statement = sqlite3_mprintf(statements[i], n);
    int result = sqlite3_exec(database, statement, row, NULL, NULL);
    sqlite3_free(statement);
    if (result != SQLITE_OK) return -2 - (int64_t)i;
  }
  hash = mix(hash, (uint64_t)sqlite3_total_changes(database));
  if (sqlite3_close(database) != SQLITE_OK) return -100;
  return checksum(hash);
}
