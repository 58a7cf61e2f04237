-- Counts bounces of a login's mail by mailboxes that do not exist, for the takeover guard.
--
-- KEYS  "hour count before": the present hour (UTC, since 1970), its bounces, those of the hour before
-- ARGV  how many more
-- Returns the sum of both hours.

local hour = math.floor(redis.call('TIME')[1] / 3600)
local last, count, before = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+) (%d+)$')
local age = last and hour - last
if age ~= 0 then
	count, before = 0, age == 1 and count or 0
end
count = count + ARGV[1]
redis.call('SET', KEYS[1], string.format('%.0f %.0f %.0f', hour, count, before), 'EX', 3 * 3600)
return count + before
