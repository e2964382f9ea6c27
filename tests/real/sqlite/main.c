/* Runs SQL scripts against a database and prints every row. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sqlite3.h"

sqlite3_vfs *sqlite3_demovfs(void);

int sqlite3_os_init(void) { return sqlite3_vfs_register(sqlite3_demovfs(), 1); }

int sqlite3_os_end(void) { return SQLITE_OK; }

static int row(void *unused, int columns, char **values, char **names) {
  (void)unused;
  (void)names;
  for (int i = 0; i < columns; i++) printf("%s%s", i ? "|" : "", values[i] ? values[i] : "NULL");
  putchar('\n');
  return 0;
}

/* A checksum of all the text it is given, in order, so that large results print as one line. */
static void digest_step(sqlite3_context *context, int count, sqlite3_value **values) {
  unsigned long long *hash = sqlite3_aggregate_context(context, sizeof *hash);
  if (!hash) {
    sqlite3_result_error_nomem(context);
    return;
  }
  for (int i = 0; i < count; i++) {
    const unsigned char *text = sqlite3_value_text(values[i]);
    for (; text && *text; text++) *hash = (*hash ^ *text) * 1099511628211ull + 1;
  }
}

static void digest_final(sqlite3_context *context) {
  char text[17];
  unsigned long long *hash = sqlite3_aggregate_context(context, 0);
  snprintf(text, sizeof text, "%016llx", hash ? *hash : 0);
  sqlite3_result_text(context, text, 16, SQLITE_TRANSIENT);
}

static char *read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  char *text = malloc((size_t)size + 1);
  if (text) text[fread(text, 1, (size_t)size, file)] = 0;
  fclose(file);
  return text;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: sqlite-workload DATABASE SCRIPT...\n");
    return 2;
  }
  sqlite3 *db;
  if (sqlite3_open(argv[1], &db) != SQLITE_OK) {
    fprintf(stderr, "cannot open %s: %s\n", argv[1], sqlite3_errmsg(db));
    return 1;
  }
  sqlite3_create_function(db, "digest", -1, SQLITE_UTF8, NULL, NULL, digest_step, digest_final);
  printf("SQLite %s\n", sqlite3_libversion());
  for (int i = 2; i < argc; i++) {
    printf("== %s\n", argv[i]);
    char *script = read_file(argv[i]), *message = NULL;
    if (!script || sqlite3_exec(db, script, row, NULL, &message) != SQLITE_OK) {
      fprintf(stderr, "%s: %s\n", argv[i], message ? message : "cannot read it");
      return 1;
    }
    free(script);
  }
  printf("changes: %d\n", sqlite3_total_changes(db));
  return sqlite3_close(db) == SQLITE_OK ? 0 : 1;
}
