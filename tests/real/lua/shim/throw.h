/* How Lua raises errors here: it ends the program. */
#include <stdio.h>
#include <stdlib.h>
#define luai_jmpbuf int
#define LUAI_TRY(L, c, a) { a }
#define LUAI_THROW(L, c) (fprintf(stderr, "lua: error\n"), exit(70))
