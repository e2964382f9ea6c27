-- Recursion, tables and strings, for a moment.
local function fib(n)
  if n < 2 then
    return n
  end
  return fib(n - 1) + fib(n - 2)
end

local parts = {}
for i = 1, 20 do
  parts[#parts + 1] = fib(i)
end
print(table.concat(parts, " "))
