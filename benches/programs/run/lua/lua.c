/* Lua, from Debian's sources, running a script: the loop of its bytecode, tables, strings, closures and its collector. */
#include "../program.h"

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

static const char script[] = {
#embed "script.lua"
    , 0};

int64_t run(int32_t n) {
  lua_State *L = luaL_newstate();
  if (!L) return -1;
  luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
  luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 1);
  luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
  lua_settop(L, 0);
  if (luaL_loadstring(L, script) != LUA_OK) return -2;
  lua_pushinteger(L, n);
  lua_call(L, 1, 1);
  lua_Integer result = lua_tointeger(L, -1);
  lua_close(L);
  return checksum((uint64_t)result);
}
