-- Charges all limits of one step of a message, or none.
--
-- KEYS  one per limit, then the receipt when ARGV[1] is not empty, then five when the takeover guard asks: its present,
--       bounces, suspension, networks, habits
-- ARGV  instance, receipt's life in seconds, "1" when this step begins a message; then seven per limit:
--       kind       "s" speed | "q" quota
--       enforced   "1" | "0" shadow | "2" hold: when it is used up the message is held, and charged to the others
--       settles    "1": what the receipt holds for the key is part of the cost
--       cost       in the unit of the state: microseconds of a speed, units of a quota (limit_cost)
--       room       the state may grow to this (limit_room); -1: nothing may pass
--       amount     of a speed: N;  of a quota: when the key expires, seconds since 1970
--       period     of a speed: microseconds; of a quota: "0"
--       then five when the takeover guard asks: network or "", since, offset of local time in seconds, recipients,
--       "1" when nothing is to be counted
-- Returns {answer, now in microseconds, fill of each limit before the charge}; answer 0 charged, 1 repeated, 2 refused,
-- 3 repeated, and held the first time;
-- and behind them, when the guard asks, its facts: networks, usual networks, recipients of this hour, of the hour before,
-- usual ones, bad mailboxes, 1 when suspended. A repeated question has no fills.
--
-- The state of a speed is "tat amount period", that of a quota a number. The arithmetic is that of common/limit.c:
-- integers below 2^53, and the one division of an edited speed in the same order of doubles.
-- The receipt is lines: "i INSTANCE", "s KEY COST AMOUNT PERIOD", "q KEY COST 0 0"; "h" behind an instance that was held.

local FIELDS, FIRST, WATCH = 7, 3, 5
local instance, life, begins = ARGV[1], ARGV[2], ARGV[3] == '1'
local watched = (#ARGV - FIRST) % FIELDS == WATCH
local count = math.floor((#ARGV - FIRST) / FIELDS)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stored = redis.call('MGET', unpack(KEYS, 1, watched and #KEYS - 2 or #KEYS))

-- ---- the takeover guard: common/takeover.h

-- Its functions are made only where it asks.

local watch
if watched then
	-- The present is "since hour volume before usual networks usually network"; the network is the last one that was counted, so
	-- that the next mail from there costs no look at the others; "-": none. Without a state, P.hour is nil.
	local function read_present(state, since)
		local s, h, volume, before, usual, networks, usually, network =
			string.match(state or '', '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+)$')
		if not s then
			return {since = since, volume = 0, before = 0, networks = 0, usually = 0, network = '-'}
		end
		return {since = tonumber(s), hour = tonumber(h), volume = tonumber(volume), before = tonumber(before),
			usual = tonumber(usual), networks = tonumber(networks), usually = tonumber(usually), network = network}
	end

	-- The present hour, and day, take the place of those that are over; true when a day begins. A clock that goes back an hour or
	-- two, as at the end of daylight saving time, changes nothing. The functions are made only where an hour begins.
	local function turn(p, hour, habits, looks)
		-- What is usual for an hour of the week is an average of past weeks, each worth three quarters of the next one: a slot
		-- holds the last week that had mail at this hour, and the average after it.
		local KEEP, WEEK = 0.75, 168

		local function slot_at(entry, week)
			local last, value = string.match(entry or '', '^(%d+) (%S+)$')
			return last and value * KEEP ^ math.max(0, week - last - 1) or 0
		end

		-- A job that runs an hour earlier or later is as usual. ENTRY stands for what SLOT holds.
		local function usual_at(slot, entry)
			local most, near = 0, {(hour - 1) % WEEK, hour % WEEK, (hour + 1) % WEEK}
			local entries = redis.call('HMGET', habits, unpack(near))
			for i = 1, 3 do
				most = math.max(most, slot_at(near[i] == slot and entry or entries[i], math.floor(hour / WEEK)))
			end
			return math.ceil(most)
		end

		-- An hour is over. The first week is the habit; later ones change it by no more than a burst's worth.
		local function remember()
			local week, slot = math.floor(p.hour / WEEK), p.hour % WEEK
			local known = redis.call('HMGET', habits, 'first', slot)
			local average = p.volume
			if tonumber(known[1] or week) < week then
				average = slot_at(known[2], week) * KEEP + math.min(p.volume, 4 * p.usual + 100) * (1 - KEEP)
			end
			local entry = string.format('%.0f %.17g', week, average)
			if not looks then
				redis.call('HSETNX', habits, 'first', week)
				redis.call('HSET', habits, slot, entry)
				redis.call('EXPIRE', habits, '5184000')
			end
			return slot, entry
		end

		if not p.hour then
			p.hour, p.usual = hour, usual_at()
			return false
		elseif hour <= p.hour and hour >= p.hour - 2 then
			return false
		end
		local new_day = math.floor(hour / 24) ~= math.floor(p.hour / 24)
		local next_hour, usual, slot, entry = hour == p.hour + 1
		if next_hour then -- what goes on for two hours is none the more usual
			usual = usual_at()
		end
		if p.volume > 0 then
			slot, entry = remember()
		end
		usual = usual or usual_at(slot, entry)
		p.before = next_hour and p.volume or 0
		p.volume, p.hour, p.usual = 0, hour, usual
		if new_day then
			if p.networks > 0 then
				p.usually = p.usually == 0 and p.networks or math.ceil(p.usually * KEEP + p.networks * (1 - KEEP))
			end
			p.networks = 0
		end
		return new_day
	end

	local function bad_mailboxes(state)
		local hour, count, before = string.match(state, '^(%d+) (%d+) (%d+)$')
		local age = hour and math.floor(now / 3600000000) - hour
		return age == 0 and count + before or age == 1 and tonumber(count) or 0
	end

	-- Counts what was CHARGED (true or false; nil for a repeated question) and returns the facts.
	function watch(charged)
		local a, k = #ARGV - WATCH, #KEYS - WATCH
		local network, since, looks = ARGV[a + 1], tonumber(ARGV[a + 2]), ARGV[a + 5] == '1' or charged == nil
		local hour = math.floor((now / 1000000 + ARGV[a + 3]) / 3600)
		local p = read_present(stored[k + 1], since)
		local forget = p.hour ~= hour and turn(p, hour, KEYS[k + 5], looks)
		local bad, suspended = stored[k + 2] and bad_mailboxes(stored[k + 2]) or 0, tonumber(stored[k + 3])
		if since > p.since then
			p.since, p.volume, p.before, p.networks, bad, forget = since, 0, 0, 0, 0, true
			if not looks then
				redis.call('DEL', KEYS[k + 2])
			end
		end
		if not looks then
			local networks = KEYS[k + 4]
			if forget then
				redis.call('DEL', networks)
				p.network = '-'
			end
			if network ~= '' and network ~= p.network then
				if redis.call('PFADD', networks, network) == 1 then
					p.networks = redis.call('PFCOUNT', networks)
					redis.call('EXPIRE', networks, '172800')
				end
				p.network = network
			end
			p.volume = p.volume + (charged and ARGV[a + 4] or 0)
			redis.call('SET', KEYS[k + 1], string.format('%d %d %d %d %d %d %d %s', p.since, p.hour, p.volume, p.before,
				p.usual, p.networks, p.usually, p.network), 'EX', '3456000') -- 40 days
		end
		return p.networks, p.usually, p.volume, p.before, p.usual, bad, suspended and suspended >= p.since and 1 or 0
	end
end

-- CHARGED: as of watch().
local function answer(code, fills, charged)
	local out = {code, now, unpack(fills)}
	if watched then
		local n = #out
		out[n + 1], out[n + 2], out[n + 3], out[n + 4], out[n + 5], out[n + 6], out[n + 7] = watch(charged)
	end
	return out
end

-- ---- the limits

local receipt = '\n'
if instance ~= '' and stored[count + 1] then
	receipt = stored[count + 1]
	local _, to = string.find(receipt, '\ni ' .. instance .. '\n', 1, true)
	if to then
		return answer(string.sub(receipt, to + 1, to + 2) == 'h\n' and 3 or 1, {})
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

local fill, fits, held, refused, ending = {}, {}, {}, false, '\n'
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
	if not fits[i] then
		if ARGV[a + 2] == '1' then
			refused = true
		elseif ARGV[a + 2] == '2' then
			ending = '\nh\n'
		end
	end
end
if refused then
	return answer(2, fill, false)
end

local function charge(i, kind, cost, amount, period)
	if kind == 's' then
		local tat = now + fill[i] + cost
		local rate = ' ' .. amount .. ' ' .. period
		redis.call('SET', KEYS[i], string.format('%d', tat) .. rate, 'EXAT', string.format('%d', tat / 1000000 + 2))
		return 's ' .. KEYS[i] .. ' ' .. cost .. rate .. '\n'
	end
	redis.call('SET', KEYS[i], string.format('%d', fill[i] + cost), 'EXAT', amount)
	return 'q ' .. KEYS[i] .. ' ' .. cost .. ' 0 0\n'
end

for i = 1, count do
	local a = FIRST + (i - 1) * FIELDS
	local cost = ARGV[a + 4]
	if fits[i] and (cost ~= '0' or held[i] > 0) then
		receipt = receipt .. charge(i, ARGV[a + 1], cost, ARGV[a + 6], ARGV[a + 7])
	end
end
if instance ~= '' then
	redis.call('SET', KEYS[count + 1], receipt .. 'i ' .. instance .. ending, 'EX', life)
end
return answer(0, fill, true)
