-- Charges all limits of one step of a message, or none.
--
-- KEYS  one per limit, then the receipt when ARGV[1] is not empty, then five when the takeover guard asks: its present,
--       bounces, suspension, networks, habits
-- ARGV  instance, receipt's life in seconds, "1" when this step begins a message; then four per limit:
--       what       three letters: "s" speed or "q" quota; "1" enforced, "0" shadow or "2" hold: when it is used up the
--                  message is held, and charged to the others; "1": what the receipt holds for the key is part of the cost
--       cost       in the unit of the state: microseconds of a speed, units of a quota (limit_cost)
--       room       the state may grow to this (limit_room); -1: nothing may pass
--       rate       of a speed: " N PERIOD", in microseconds; of a quota: when the key expires, seconds since 1970
--       then three when the takeover guard asks: "SINCE NETWORK" ("-": not known), offset of local time in seconds, and
--       the recipients, or "" when nothing is to be counted
-- Returns {answer, now in microseconds, fill of each limit before the charge}; answer 0 charged, 1 repeated, 2 refused,
-- 3 repeated, and held the first time;
-- and behind them, when the guard asks, its facts: a string "recipients of this hour, of the hour before, usual ones,
-- networks, usual networks", then bad mailboxes, 1 when suspended. A repeated question has no fills.
--
-- The state of a speed is "tat N PERIOD", that of a quota a number. The arithmetic is that of common/limit.c: integers
-- below 2^53, and the one division of an edited speed in the same order of doubles.
-- The receipt is lines: "i INSTANCE", "s KEY COST N PERIOD", "q KEY COST 0 0"; "h" behind an instance that was held.
--
-- Redis makes a function, a string or a number out of text anew in each call, and a call is most of what a decision costs:
-- hence few of them, and functions only where they are needed.

local FIRST, FIELDS, WATCH, WATCH_KEYS = 3, 4, 3, 5
local SPEED, ENFORCED, HOLD, SETTLES = string.byte('s121', 1, 4)
local instance, life = ARGV[1], ARGV[2]
local watched = (#ARGV - FIRST) % FIELDS == WATCH
local count = math.floor((#ARGV - FIRST) / FIELDS)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stored = redis.call('MGET', unpack(KEYS, 1, watched and #KEYS - 2 or #KEYS))
local answer, charged, out = 0, true, {0, now}

-- ---- the limits

local receipt = '\n'
if instance ~= '' and stored[count + 1] then
	receipt = stored[count + 1]
	local _, to = string.find(receipt, '\ni ' .. instance .. '\n', 1, true)
	if to then
		answer, charged = string.sub(receipt, to + 1, to + 2) == 'h\n' and 3 or 1, nil
	elseif ARGV[3] == '1' then
		receipt = '\n'
	end
end

-- US microseconds at the rate of N a PERIOD are so many at RATE.
local function at_rate(rate, us, n, period)
	local new_n, new_period = string.match(rate, ' (%d+) (%d+)')
	return math.ceil(us * n / period * new_period / new_n)
end

local taken
if receipt ~= '\n' and charged then
	-- Takes what the receipt holds for KEY out of it; the sum at the limit's own rate.
	function taken(kind, key, rate)
		local head, sum = '\n' .. kind .. ' ' .. key .. ' ', 0
		local from, to = string.find(receipt, head, 1, true)
		while from do
			local cost, n, period, stop = string.match(receipt, '^(%d+) (%d+) (%d+)()\n', to + 1)
			if kind == 's' and ' ' .. n .. ' ' .. period ~= rate then
				cost = at_rate(rate, cost, n, period)
			end
			sum = sum + cost
			receipt = string.sub(receipt, 1, from - 1) .. string.sub(receipt, stop)
			from, to = string.find(receipt, head, 1, true)
		end
		return sum
	end
end

local charges, ending = {}, '\n'
for i = 1, charged and count or 0 do
	local a = FIRST + (i - 1) * FIELDS
	local kind, action, settles = string.byte(ARGV[a + 1], 1, 3)
	local cost, room, rate = ARGV[a + 2], tonumber(ARGV[a + 3]), ARGV[a + 4]
	local state, fill, held = stored[i], 0, 0
	if state and kind ~= SPEED then
		fill = tonumber(state) or 0
	elseif state and room >= 0 then -- the backlog in microseconds at the limit's own rate, at most its room
		if string.sub(state, -#rate) == rate then
			fill = (tonumber(string.sub(state, 1, -#rate - 1)) or 0) - now
		else
			local tat, n, period = string.match(state, '^(%d+) (%d+) (%d+)$')
			fill = tat and tat - now > 0 and at_rate(rate, tat - now, n, period) or 0
		end
		fill = math.max(0, math.min(fill, room))
	end
	if settles == SETTLES and room >= 0 and taken then
		held = math.min(fill, taken(string.char(kind), KEYS[i], rate))
		fill = fill - held
	end
	out[2 + i] = fill
	if fill + cost <= room then
		if cost ~= '0' or held > 0 then
			charges[#charges + 1] = i
		end
	elseif action == ENFORCED then
		answer, charged = 2, false
	elseif action == HOLD then
		ending = '\nh\n'
	end
end

if charged then
	for _, i in ipairs(charges) do
		local a, key = FIRST + (i - 1) * FIELDS, KEYS[i]
		local cost, rate = ARGV[a + 2], ARGV[a + 4]
		local fill = out[2 + i] + cost
		if string.byte(ARGV[a + 1]) == SPEED then
			local tat = now + fill
			redis.call('SET', key, string.format('%d', tat) .. rate, 'EXAT', string.format('%d', tat / 1000000 + 2))
			receipt = receipt .. 's ' .. key .. ' ' .. cost .. rate .. '\n'
		else
			redis.call('SET', key, string.format('%d', fill), 'EXAT', rate)
			receipt = receipt .. 'q ' .. key .. ' ' .. cost .. ' 0 0\n'
		end
	end
	if instance ~= '' then
		redis.call('SET', KEYS[count + 1], receipt .. 'i ' .. instance .. ending, 'EX', life)
	end
end
out[1] = answer

-- ---- the takeover guard: common/takeover.h

if watched then
	-- The present is "since network hour volume before usual networks usually"; the network is the last one that was counted, so
	-- that the next mail from there costs no look at the others; "-": none. Mostly the next mail comes in the same hour from
	-- the same network, and nothing but the volume changes.
	local a, k = #ARGV - WATCH, #KEYS - WATCH_KEYS
	local who, hour = ARGV[a + 1], math.floor((now / 1000000 + ARGV[a + 2]) / 3600)
	local more, looks = charged and ARGV[a + 3] or 0, ARGV[a + 3] == '' or charged == nil
	local present, bounces, was, volume, rest = stored[k + 1] or '', stored[k + 2]
	if string.sub(present, 1, #who) == who then
		was, volume, rest = string.match(present, '^ (%d+) (%d+)( .+)$', #who + 1)
	end
	if tonumber(was) ~= hour then
		local networks, habits = KEYS[k + 4], KEYS[k + 5]

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

		local since, network = string.match(who, '^(%d+) (%S+)$')
		local s, w, h, v, b, u, n, y = string.match(present, '^(%d+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
		since = tonumber(since)
		local p = {since = tonumber(s) or since, network = w or '-', hour = tonumber(h), volume = tonumber(v) or 0,
			before = tonumber(b) or 0, usual = tonumber(u), networks = tonumber(n) or 0, usually = tonumber(y) or 0}
		local forget = p.hour ~= hour and turn(p, hour, habits, looks)
		if since > p.since then
			p.since, p.volume, p.before, p.networks, bounces, forget = since, 0, 0, 0, nil, true
			if not looks then
				redis.call('DEL', KEYS[k + 2])
			end
		end
		if not looks then
			if forget then
				redis.call('DEL', networks)
				p.network = '-'
			end
			if network ~= '-' and network ~= p.network then
				if redis.call('PFADD', networks, network) == 1 then
					p.networks = redis.call('PFCOUNT', networks)
					redis.call('EXPIRE', networks, '172800')
				end
				p.network = network
			end
		end
		who, was, volume = string.format('%d', p.since) .. ' ' .. p.network, string.format('%d', p.hour), p.volume
		rest = string.format(' %d %d %d %d', p.before, p.usual, p.networks, p.usually)
	end
	local facts = string.format('%d', looks and volume or volume + more) .. rest
	if not looks then
		redis.call('SET', KEYS[k + 1], who .. ' ' .. was .. ' ' .. facts, 'EX', '3456000') -- 40 days
	end
	local bad, suspended, n = 0, stored[k + 3], #out
	if bounces then
		local h, now_bad, before = string.match(bounces, '^(%d+) (%d+) (%d+)$')
		local age = h and math.floor(now / 3600000000) - h
		bad = age == 0 and now_bad + before or age == 1 and tonumber(now_bad) or 0
	end
	suspended = suspended and tonumber(suspended) >= tonumber(string.match(who, '^%d+')) and 1 or 0
	out[n + 1], out[n + 2], out[n + 3] = facts, bad, suspended
end
return out
