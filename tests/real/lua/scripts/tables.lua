local seed = 42
local function random() seed = (seed * 1103515245 + 12345) & 0x7fffffff; return seed end

local items = {}
for i = 1, 50000 do items[i] = { key = random() % 1000, order = i } end
table.sort(items, function(a, b)
  if a.key ~= b.key then return a.key < b.key end
  return a.order < b.order
end)
print(items[1].key, items[1].order, items[25000].key, items[25000].order, items[50000].order)

local Account = {}
Account.__index = Account
Account.__add = function(a, b) return Account.new(a.balance + b.balance) end
Account.__eq = function(a, b) return a.balance == b.balance end
Account.__lt = function(a, b) return a.balance < b.balance end
Account.__le = function(a, b) return a.balance <= b.balance end
Account.__len = function(a) return a.balance end
Account.__call = function(a, n) return a.balance * n end
Account.__tostring = function(a) return "Account(" .. a.balance .. ")" end
Account.__concat = function(a, b) return tostring(a) .. "&" .. tostring(b) end
function Account.new(balance) return setmetatable({ balance = balance }, Account) end
local a, b = Account.new(3), Account.new(4)
print(tostring(a + b), a == Account.new(3), a < b, a <= b, #b, a(5), a .. b)

local function counter()
  local n = 0
  return function() n = n + 1; return n end, function() return n end
end
local up, get = counter()
for _ = 1, 1000 do up() end
print(get())

local memo = setmetatable({}, { __index = function(t, n)
  local value = n < 2 and n or t[n - 1] + t[n - 2]
  rawset(t, n, value)
  return value
end })
print(memo[80])

local weak = setmetatable({}, { __mode = "k" })
for i = 1, 1000 do weak[{}] = i end
collectgarbage()
local left = 0
for _ in pairs(weak) do left = left + 1 end
print("weak", left)

local finalized = 0
for _ = 1, 500 do setmetatable({}, { __gc = function() finalized = finalized + 1 end }) end
collectgarbage(); collectgarbage()
print("finalized", finalized)

local function queens(n)
  local count, columns, up, down = 0, {}, {}, {}
  local function place(row)
    if row > n then count = count + 1; return end
    for c = 1, n do
      if not (columns[c] or up[row + c] or down[row - c]) then
        columns[c], up[row + c], down[row - c] = true, true, true
        place(row + 1)
        columns[c], up[row + c], down[row - c] = nil, nil, nil
      end
    end
  end
  place(1)
  return count
end
print("queens", queens(7))

print(table.unpack({ 1, 2, 3 }, 2), select("#", table.unpack({}, 1, 5)), table.concat(table.move({ 1, 2, 3 }, 1, 3, 2), "-"))
goto done
print("not reached")
::done::
local chunk = load("local a, b = ... ; return a * b, { n = a }")
local product, made = chunk(6, 7)
print(product, made.n)
