-- Coroutines, which C++ unwinds when they yield through its frames.
local function generate(n)
  return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end)
end
local sum = 0
for i in generate(10000) do sum = sum + i end
print(sum)

local function permutations(a, n)
  n = n or #a
  if n <= 1 then coroutine.yield(a) end
  for i = 1, n do
    a[n], a[i] = a[i], a[n]
    permutations(a, n - 1)
    a[n], a[i] = a[i], a[n]
  end
end
local count, text = 0, {}
for p in coroutine.wrap(function() permutations({ 1, 2, 3, 4, 5, 6 }) end) do
  count = count + 1
  if count % 97 == 0 then text[#text + 1] = table.concat(p) end
end
print(count, table.concat(text, " "))

-- Yields across pcall, and errors out of coroutines.
local co = coroutine.create(function(a)
  local ok, e = pcall(function()
    local b = coroutine.yield(a + 1)
    error("b is " .. b, 0)
  end)
  local c = coroutine.yield(e)
  error({ c = c })
end)
print(coroutine.resume(co, 1))
print(coroutine.resume(co, 20))
local ok, e = coroutine.resume(co, 300)
print(ok, e.c, coroutine.status(co), coroutine.resume(co))
print(pcall(coroutine.wrap(function() error("wrapped", 0) end)))
print(select("#", coroutine.running()), coroutine.isyieldable(), pcall(coroutine.yield, 1))

-- A coroutine in a coroutine, and a closed one.
local outer = coroutine.wrap(function()
  local inner = coroutine.wrap(function() coroutine.yield("inner 1"); error("inner 2", 0) end)
  coroutine.yield(inner())
  local ok, e = pcall(inner)
  coroutine.yield(e)
  return "done"
end)
print(outer(), outer(), outer(), pcall(outer))
local closing = coroutine.create(function()
  local it <close> = setmetatable({}, { __close = function() print("closed") end })
  coroutine.yield()
end)
coroutine.resume(closing)
print(coroutine.close(closing), coroutine.status(closing))

-- Producers and consumers.
local queue, done = {}, 0
local tasks = {}
for i = 1, 50 do
  tasks[#tasks + 1] = coroutine.create(function()
    for j = 1, 40 do
      queue[#queue + 1] = i * j
      coroutine.yield()
      if (i + j) % 33 == 0 then error("task " .. i .. " at " .. j, 0) end
    end
    done = done + 1
  end)
end
local errors = {}
while #tasks > 0 do
  for i = #tasks, 1, -1 do
    local ok, e = coroutine.resume(tasks[i])
    if not ok then errors[#errors + 1] = e end
    if coroutine.status(tasks[i]) == "dead" then table.remove(tasks, i) end
  end
end
local total = 0
for _, n in ipairs(queue) do total = total + n end
print(#queue, total, done, #errors, errors[1], errors[#errors])
