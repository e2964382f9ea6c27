// Runs Lua scripts. Compiled as C++, Lua raises its errors by `throw`.
#include <cstdio>
#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

int main(int argc, char **argv) {
    lua_State *L = luaL_newstate();
    if (!L) return 2;
    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    luaL_requiref(L, LUA_COLIBNAME, luaopen_coroutine, 1);
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 1);
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
    lua_settop(L, 0);
    for (int i = 1; i < argc; i++) {
        std::printf("== %s\n", argv[i]);
        if (luaL_loadfile(L, argv[i]) != LUA_OK || lua_pcall(L, 0, 0, 0) != LUA_OK) {
            std::fprintf(stderr, "%s\n", lua_tostring(L, -1));
            return 1;
        }
    }
    lua_close(L);
    return 0;
}
