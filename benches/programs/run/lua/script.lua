-- Gives a checksum of a few small programs, `rounds` times.
local rounds = ...

local state = 35
local function random(limit)
  state = (state * 1103515245 + 12345) % 2147483648
  return state // 65536 % limit
end

local function mix(hash, value)
  return (hash ~ value) * 0x100000001b3 + (hash >> 29)
end

-- Objects: accounts that inherit their methods.
local Account = {}
Account.__index = Account

function Account.new(owner)
  return setmetatable({owner = owner, balance = 0, log = {}}, Account)
end

function Account:deposit(amount)
  self.balance = self.balance + amount
  self.log[#self.log + 1] = amount
end

local Savings = setmetatable({}, {__index = Account})
Savings.__index = Savings

function Savings.new(owner)
  return setmetatable(Account.new(owner), Savings)
end

function Savings:deposit(amount)
  Account.deposit(self, amount + amount // 10)
end

local function bank()
  local accounts, sum = {}, 0
  for i = 1, 100 do
    accounts[i] = (i % 3 == 0 and Savings or Account).new("owner " .. i)
  end
  for _ = 1, 5000 do
    accounts[1 + random(100)]:deposit(random(50))
  end
  table.sort(accounts, function(a, b)
    if a.balance ~= b.balance then return a.balance > b.balance end
    return a.owner < b.owner
  end)
  for place, account in ipairs(accounts) do sum = mix(sum, place * account.balance + #account.log + #account.owner) end
  return sum
end

-- Numbers: a sieve, and matrices.
local function sieve(limit)
  local composite, count = {}, 0
  for i = 2, limit do
    if not composite[i] then
      count = count + 1
      for j = i * i, limit, i do composite[j] = true end
    end
  end
  return count
end

local function matrices(size)
  local function matrix()
    local m = {}
    for i = 1, size do
      m[i] = {}
      for j = 1, size do m[i][j] = random(1000) / 8 end
    end
    return m
  end
  local a, b, trace = matrix(), matrix(), 0.0
  for i = 1, size do
    for j = 1, size do
      local sum = 0.0
      for k = 1, size do sum = sum + a[i][k] * b[k][j] end
      if i == j then trace = trace + sum end
    end
  end
  return trace // 1 | 0
end

-- Strings: words are counted, and put into other forms.
local function words()
  local pieces = {}
  for i = 1, 2000 do pieces[i] = ("lua moon star sun sky"):sub(1 + random(12), 13 + random(9)) .. random(30) end
  local text, counts, sum = table.concat(pieces, " "), {}, 0
  for word in text:gmatch("%a+") do counts[word] = (counts[word] or 0) + 1 end
  local names = {}
  for word in pairs(counts) do names[#names + 1] = word end
  table.sort(names)
  for i, word in ipairs(names) do
    local line = string.format("%3d %-10s %5d", i, word:upper(), counts[word])
    for j = 1, #line do sum = mix(sum, line:byte(j)) end
  end
  local swapped, changes = text:gsub("(%a+)(%d+)", "%2%1")
  return mix(mix(sum, #swapped), changes)
end

-- Closures: permutations.
local function permutations(size)
  local items, sum = {}, 0
  for i = 1, size do items[i] = i end
  local function permute(count, visit)
    if count <= 1 then return visit(items) end
    for i = 1, count do
      items[count], items[i] = items[i], items[count]
      permute(count - 1, visit)
      items[count], items[i] = items[i], items[count]
    end
  end
  permute(size, function(permutation)
    sum = mix(sum, permutation[1] * 10 + permutation[size])
  end)
  return sum
end

local hash = 0
for _ = 1, rounds do
  hash = mix(hash, bank())
  hash = mix(hash, sieve(20000))
  hash = mix(hash, matrices(40))
  hash = mix(hash, words())
  hash = mix(hash, permutations(7))
end
return hash
