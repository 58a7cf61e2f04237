-- Gives back what a receipt says was charged, and forgets the receipt.
--
-- KEYS  the receipt. The keys that it names are in its slot, or they are the whole relay's ("*").
-- Returns the number of charges given back. The lines of a receipt: counters_charge.lua.

local receipt = redis.call('GET', KEYS[1])
if not receipt then
	return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function give_back_speed(key, cost, amount, period)
	local state = redis.call('GET', key)
	local tat, new_amount, new_period = string.match(state or '', '^(%d+) (%d+) (%d+)$')
	if not tat then
		return
	end
	if new_amount ~= amount or new_period ~= period then
		cost = math.ceil(cost * amount / period * new_period / new_amount)
	end
	tat = tat - cost
	if tat <= now then
		redis.call('DEL', key)
	else
		redis.call('SET', key, string.format('%.0f %s %s', tat, new_amount, new_period), 'PXAT',
			string.format('%.0f', math.ceil(tat / 1000) + 1000))
	end
end

local function give_back_quota(key, cost)
	local used = tonumber(redis.call('GET', key) or '')
	if used then
		redis.call('SET', key, string.format('%.0f', math.max(0, used - cost)), 'KEEPTTL')
	end
end

local given = 0
for kind, key, cost, amount, period in string.gmatch(receipt, '([sq]) (%S+) (%d+) (%d+) (%d+)\n') do
	if kind == 's' then
		give_back_speed(key, cost, amount, period)
	else
		give_back_quota(key, cost)
	end
	given = given + 1
end
redis.call('DEL', KEYS[1])
return given
