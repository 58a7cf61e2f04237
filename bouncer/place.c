#include <inttypes.h>
#include <string.h>

#include "common/encode.h"
#include "common/json.h"

#include "bouncer/place.h"

const char place_query[] = "SELECT batch, position->>'inode', position->>'offset', position->>'generation', "
			   "position->>'head_len', position->>'head', position->>'guard', position->>'changed_ns', "
			   "position->>'cursor' "
			   "FROM waybill.log_positions WHERE source = $1";

static uint64_t number_at(const struct pg_result *r, size_t column)
{
	uint64_t value = 0;
	text_uint(pg_field(r, 0, column), INT64_MAX, &value);
	return value;
}

static bool read_file(const struct pg_result *r, struct tail_position *p)
{
	struct buffer head = {0}, guard = {0};
	bool ok = pg_string(r, 0, 1) && !encode_hex_decode(pg_field(r, 0, 5), &head) && head.len == sizeof p->head &&
		  !encode_hex_decode(pg_field(r, 0, 6), &guard) && guard.len <= sizeof p->guard;
	if (ok) {
		*p = (struct tail_position){.inode = number_at(r, 1),
					    .offset = number_at(r, 2),
					    .generation = number_at(r, 3),
					    .changed_ns = number_at(r, 7),
					    .head_len = (uint32_t)number_at(r, 4),
					    .guard_len = (uint32_t)guard.len};
		memcpy(p->head, head.ptr, head.len);
		if (guard.len)
			memcpy(p->guard, guard.ptr, guard.len);
		ok = p->head_len <= TAIL_HEAD && p->guard_len <= p->offset;
	}
	buffer_free(&head);
	buffer_free(&guard);
	return ok;
}

bool place_read(const struct pg_result *r, struct place *place)
{
	*place = (struct place){0};
	struct text cursor = pg_field(r, 0, 8);
	return cursor.len ? text_put(cursor, place->cursor, sizeof place->cursor) : read_file(r, &place->file);
}

static void print_file(const struct tail_position *p, struct buffer *out)
{
	buffer_format(out,
		      "{\"inode\":%" PRIu64 ",\"offset\":%" PRIu64 ",\"generation\":%" PRIu64 ",\"changed_ns\":%" PRIu64
		      ",\"head_len\":%u,\"head\":\"",
		      p->inode, p->offset, p->generation, p->changed_ns, (unsigned)p->head_len);
	encode_hex(text_at(p->head, sizeof p->head), out);
	buffer_text(out, TEXT("\",\"guard\":\""));
	encode_hex(text_at(p->guard, p->guard_len), out);
	buffer_text(out, TEXT("\"}"));
}

void place_print(const struct place *place, struct buffer *out)
{
	if (!place->cursor[0]) {
		print_file(&place->file, out);
		return;
	}
	struct json json = {.out = out};
	json_open(&json, NULL, '{');
	json_string(&json, "cursor", text_of(place->cursor));
	json_close(&json, '}');
}
