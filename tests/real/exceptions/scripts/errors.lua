-- Errors raised and caught, in all places where Lua can raise them.
local function show(...)
  local out = {}
  for i = 1, select("#", ...) do
    local it = select(i, ...)
    out[i] = type(it) == "table" and "table" or tostring(it)
  end
  print(table.concat(out, "\t"))
end

show(pcall(error))
show(pcall(error, "plain", 0))
show(pcall(error, { code = 7 }))
show(pcall(function() local x = nil; return x.field end))
show(pcall(function() return 1 + {} end))
show(pcall(function() return #5 end))
show(pcall(function() return {} < {} end))
show(pcall(string.rep))
show(pcall(string.format, "%d", "x"))
show(pcall(table.concat, { 1, {}, 3 }))
show(pcall(setmetatable, 1, {}))
show(pcall(function() for i = 1, 10, 0 do end end))
show(pcall(function() return 1 // 0 end))
show(pcall(load, nil))
show(load("x ="))
show(load("for"))
show(select(2, pcall(error, setmetatable({}, { __tostring = function() return "made" end }))))
show(xpcall(function() error("deep") end, function(m) return "handled " .. m end))
show(xpcall(function(...) return select("#", ...) end, print, 1, 2, 3))

-- In each frame a handler, which raises again.
local function rethrow(n)
  local ok, e = pcall(function()
    if n == 0 then error("bottom", 0) end
    rethrow(n - 1)
  end)
  error(e .. ".", 0)
end
show(pcall(rethrow, 15))

-- From the depth of a recursion.
local function descend(n) if n == 0 then error({ depth = n }) end return 1 + descend(n - 1) end
local ok, e = pcall(descend, 10000)
show(ok, e.depth)
local function endless() return 1 + endless() end
show(pcall(endless) == false, #select(2, pcall(endless)) > 0)

-- Out of a metamethod, an iterator, a comparison of `table.sort`, a callback of `gsub`.
local t = setmetatable({}, {
  __index = function(_, k) error("no " .. k, 0) end,
  __gc = function() error("in a finaliser") end,
})
show(pcall(function() return t.field end))
show(pcall(function() for _ in function() error("stop", 0) end do end end))
show(pcall(table.sort, { 3, 1, 2 }, function() error("unordered", 0) end))
show(pcall(string.gsub, "abc", ".", function(c) if c == "b" then error("at b", 0) end end))
do
  local closed <close> = setmetatable({}, { __close = function(_, e) show("closed", e) end })
  show(pcall(function()
    local inner <close> = setmetatable({}, { __close = function(_, e) show("inner", e); error("from close", 0) end })
    error("body", 0)
  end))
end

-- Many.
local sum = 0
for i = 1, 20000 do
  local ok, e = pcall(function() if i % 3 == 0 then error(i, 0) end return i end)
  sum = sum + (ok and e or -e)
end
show(sum)
for i = 1, 200 do
  local ok, e = pcall(descend, i)
  sum = sum + e.depth + i
end
show(sum)
