local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
print("fib(27)", fib(27))

local sieve, primes = {}, 0
for i = 2, 200000 do
  if not sieve[i] then
    primes = primes + 1
    for j = i * i, 200000, i do sieve[j] = true end
  end
end
print("primes", primes)

local sum = 0.0
for i = 1, 100000 do sum = sum + 1 / (i * i) end
print(string.format("pi %.12f", math.sqrt(6 * sum)))

local x = 0
for i = 1, 64 do x = (x << 3) ~ (x >> 5) ~ (i * 0x9E3779B97F4A7C15) end
print(string.format("bits %016x %d", x, x))
print(7 // 2, -7 // 2, 7 % -3, -7 % 3, 7.5 // 2, -7.5 % 2, 2 ^ 0.5, 1e308 * 10, -(0 / 0) ~= 0)
print(math.maxinteger + 1 == math.mininteger, math.tointeger(3.0), math.type(3), math.type(3.0))
print(string.format("%a %g %e %10.3f|%-8d|%+05d|%x", 1 / 3, 1e20, 12345.678, math.pi, 42, 42, 255))
print(tostring(0x7fffffffffffffff), 0x1p-3, 1e15, 1e16, 123456789012345678)
print(math.floor(-3.5), math.ceil(-3.5), math.fmod(-7, 3), math.ult(1, -1), 5 // 0.0, -5 // 0.0)
