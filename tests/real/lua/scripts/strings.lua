local words = {}
for word in ("the quick brown fox jumps over the lazy dog, the end"):gmatch("%a+") do
  words[word] = (words[word] or 0) + 1
end
local keys = {}
for word in pairs(words) do keys[#keys + 1] = word end
table.sort(keys)
for _, word in ipairs(keys) do print(word, words[word]) end

local parts = {}
for i = 1, 20000 do parts[#parts + 1] = ("%d:%s"):format(i, ("x"):rep(i % 7)) end
local text = table.concat(parts, ",")
print(#text, text:sub(1, 40), text:sub(-20))
print(select(2, text:gsub("(%d+):(x*)", "%2=%1")), (text:gsub("x+", "")):len())
print(text:find("19999:", 1, true), text:match("(%d+):xxxxxx,(%d+)"))
print(("%q"):format("line\nbreak\0zero\"quote\\"), ("hello"):reverse():upper(), ("abc"):byte(1, -1))

local packed = string.pack(">i4 <d z s2", -2, 1.5, "zero", "sized")
print(#packed, string.unpack(">i4 <d z s2", packed))
for _, code in utf8.codes("Grüße 世界") do parts[code] = true end
print(utf8.len("Grüße 世界"), utf8.char(0x48, 0x1F600), utf8.codepoint("世", 1))

local function crc32(s)
  local crc = 0xFFFFFFFF
  for i = 1, #s do
    crc = crc ~ s:byte(i)
    for _ = 1, 8 do crc = (crc >> 1) ~ (0xEDB88320 & -(crc & 1)) end
  end
  return ~crc & 0xFFFFFFFF
end
print(string.format("crc %08x", crc32(text)))
print(("key = value # comment"):match("^(%w+)%s*=%s*(%w+)"), ("[[nested (a(b)c)]]"):match("%b()"))
