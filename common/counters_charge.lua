-- Charges all limits of one step of a message, or none.
--
-- KEYS  one per limit, then the receipt when ARGV[1] is not empty
-- ARGV  instance, receipt's life in seconds, "1" when this step begins a message; then seven per limit:
--       kind       "s" speed | "q" quota
--       enforced   "1" | "0" shadow
--       settles    "1": what the receipt holds for the key is part of the cost
--       cost       in the unit of the state: microseconds of a speed, units of a quota (limit_cost)
--       room       the state may grow to this (limit_room); -1: nothing may pass
--       amount     of a speed: N;  of a quota: when the key expires, seconds since 1970
--       period     of a speed: microseconds; of a quota: "0"
-- Returns {answer, now in microseconds, fill of each limit before the charge}; answer 0 charged, 1 repeated, 2 refused.
--
-- The state of a speed is "tat amount period", that of a quota a number. The arithmetic is that of common/limit.c:
-- integers below 2^53, and the one division of an edited speed in the same order of doubles.
-- The receipt is lines: "i INSTANCE", "s KEY COST AMOUNT PERIOD", "q KEY COST 0 0".

local FIELDS, FIRST = 7, 3
local instance, life, begins = ARGV[1], ARGV[2], ARGV[3] == '1'
local count = (#ARGV - FIRST) / FIELDS
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stored = redis.call('MGET', unpack(KEYS))

local receipt = '\n'
if instance ~= '' and stored[count + 1] then
	receipt = stored[count + 1]
	if string.find(receipt, '\ni ' .. instance .. '\n', 1, true) then
		return {1, now}
	end
	if begins then
		receipt = '\n'
	end
end

-- The backlog of a speed in microseconds at the limit's own rate, at most its room.
local function backlog(state, room, amount, period)
	local tat, old_amount, old_period = string.match(state, '^(%d+) (%d+) (%d+)$')
	local ahead = tat and tat - now or 0
	if ahead <= 0 or room < 0 then
		return 0
	end
	if old_amount ~= amount or old_period ~= period then
		ahead = math.ceil(ahead * old_amount / old_period * period / amount)
	end
	return math.min(ahead, room)
end

-- Takes what the receipt holds for KEY out of it; the sum at the limit's own rate.
local function taken(kind, key, amount, period)
	local head, sum = '\n' .. kind .. ' ' .. key .. ' ', 0
	local from, to = string.find(receipt, head, 1, true)
	while from do
		local cost, old_amount, old_period, stop = string.match(receipt, '^(%d+) (%d+) (%d+)()\n', to + 1)
		if kind == 's' and (old_amount ~= amount or old_period ~= period) then
			cost = math.ceil(cost * old_amount / old_period * period / amount)
		end
		sum = sum + cost
		receipt = string.sub(receipt, 1, from - 1) .. string.sub(receipt, stop)
		from, to = string.find(receipt, head, 1, true)
	end
	return sum
end

local fill, fits, held, refused = {}, {}, {}, false
for i = 1, count do
	local a = FIRST + (i - 1) * FIELDS
	local kind, room = ARGV[a + 1], tonumber(ARGV[a + 5])
	if not stored[i] then
		fill[i] = 0
	elseif kind == 's' then
		fill[i] = backlog(stored[i], room, ARGV[a + 6], ARGV[a + 7])
	else
		fill[i] = tonumber(stored[i]) or 0
	end
	held[i] = 0
	if ARGV[a + 3] == '1' and room >= 0 then
		held[i] = math.min(fill[i], taken(kind, KEYS[i], ARGV[a + 6], ARGV[a + 7]))
		fill[i] = fill[i] - held[i]
	end
	fits[i] = fill[i] + ARGV[a + 4] <= room
	if not fits[i] and ARGV[a + 2] == '1' then
		refused = true
	end
end
if refused then
	return {2, now, unpack(fill)}
end

local function charge(i, kind, cost, amount, period)
	if kind == 's' then
		local tat = now + fill[i] + cost
		redis.call('SET', KEYS[i], string.format('%.0f %s %s', tat, amount, period), 'PXAT',
			string.format('%.0f', math.ceil(tat / 1000) + 1000))
		return string.format('s %s %.0f %s %s\n', KEYS[i], cost, amount, period)
	end
	redis.call('SET', KEYS[i], string.format('%.0f', fill[i] + cost), 'EXAT', amount)
	return string.format('q %s %.0f 0 0\n', KEYS[i], cost)
end

for i = 1, count do
	local a = FIRST + (i - 1) * FIELDS
	local cost = tonumber(ARGV[a + 4])
	if fits[i] and (cost > 0 or held[i] > 0) then
		receipt = receipt .. charge(i, ARGV[a + 1], cost, ARGV[a + 6], ARGV[a + 7])
	end
end
if instance ~= '' then
	redis.call('SET', KEYS[count + 1], receipt .. 'i ' .. instance .. '\n', 'EX', life)
end
return {0, now, unpack(fill)}
