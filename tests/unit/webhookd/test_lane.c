#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "bouncer/lane.h"

#define FAILURES 3

static struct endpoint *endpoint(const char *id)
{
	struct endpoint *e = endpoint_new();
	e->customer = text_copy(TEXT("acme"));
	e->id = text_copy(text_of(id));
	return e;
}

static void add(struct lanes *lanes, struct endpoint *e, int count)
{
	for (int i = 1; i <= count; i++)
		lanes_add(lanes, delivery_new(e, TEXT("evt"), i));
}

static void done(struct lanes *lanes, struct delivery *d, bool ok, struct delivery_list *unused)
{
	lanes_done(lanes, d, ok ? LANE_OK : LANE_FAILED, unused);
	delivery_free(&d);
}

static void test_lanes_take_turns_and_grow(void **state)
{
	struct lanes *lanes = lanes_new(100, 4, FAILURES);
	struct endpoint *a = endpoint("a"), *b = endpoint("b");
	struct delivery_list unused = {0};
	(void)state;
	add(lanes, a, 20);
	add(lanes, b, 2);
	struct delivery *first = lanes_next(lanes), *second = lanes_next(lanes);
	assert_ptr_equal(first->endpoint, a);
	assert_ptr_equal(second->endpoint, b);
	assert_null(lanes_next(lanes)); /* one each, to begin with */
	done(lanes, first, true, &unused);
	first = lanes_next(lanes);
	struct delivery *third = lanes_next(lanes);
	assert_true(first && third && !lanes_next(lanes)); /* two */
	assert_int_equal(first->try, 2);
	assert_int_equal(third->try, 3);
	done(lanes, first, true, &unused);
	done(lanes, third, true, &unused);
	struct delivery *more[5];
	for (int i = 0; i < 4; i++)
		assert_non_null(more[i] = lanes_next(lanes));
	assert_null(lanes_next(lanes)); /* four is the limit */
	assert_int_equal(lanes_under_way(lanes), 5);
	done(lanes, more[0], false, &unused);
	assert_null(lanes_next(lanes)); /* one again, and three are under way */
	for (int i = 1; i < 4; i++)
		delivery_free(&more[i]);
	delivery_free(&second);
	lanes_free(&lanes);
	endpoint_free(&a);
	endpoint_free(&b);
	assert_int_equal(unused.count, 0);
}

static void test_total(void **state)
{
	struct lanes *lanes = lanes_new(2, 4, FAILURES);
	struct endpoint *e[3] = {endpoint("a"), endpoint("b"), endpoint("c")};
	struct delivery_list unused = {0};
	(void)state;
	for (int i = 0; i < 3; i++)
		add(lanes, e[i], 1);
	struct delivery *first = lanes_next(lanes), *second = lanes_next(lanes);
	assert_null(lanes_next(lanes));
	done(lanes, first, false, &unused);
	struct delivery *third = lanes_next(lanes);
	assert_ptr_equal(third->endpoint, e[2]);
	done(lanes, second, true, &unused);
	done(lanes, third, true, &unused);
	assert_int_equal(lanes_held(lanes), 0);
	lanes_free(&lanes);
	for (int i = 0; i < 3; i++)
		endpoint_free(&e[i]);
}

static void test_failures_give_up_what_waits(void **state)
{
	struct lanes *lanes = lanes_new(100, 4, FAILURES);
	struct endpoint *a = endpoint("a");
	struct delivery_list unused = {0};
	(void)state;
	add(lanes, a, 10);
	for (int i = 0; i < FAILURES; i++) {
		assert_int_equal(unused.count, 0);
		done(lanes, lanes_next(lanes), false, &unused);
	}
	assert_int_equal(unused.count, 10 - FAILURES);
	assert_int_equal(lanes_held(lanes), 0);
	assert_null(lanes_next(lanes));
	delivery_list_free(&unused);

	add(lanes, a, 5); /* a pause does it at once, a clear too */
	struct delivery *d = lanes_next(lanes);
	lanes_done(lanes, d, LANE_PAUSED, &unused);
	delivery_free(&d);
	assert_int_equal(unused.count, 4);
	add(lanes, a, 5);
	d = lanes_next(lanes);
	lanes_clear(lanes, &unused);
	assert_int_equal(unused.count, 8);
	assert_int_equal(lanes_held(lanes), 1);
	done(lanes, d, true, &unused);
	lanes_free(&lanes);
	endpoint_free(&a);
	delivery_list_free(&unused);
}

static void test_held_counts_events(void **state)
{
	struct lanes *lanes = lanes_new(100, 4, FAILURES);
	struct endpoint *e = endpoint("e");
	struct delivery_list unused = {0};
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct delivery *batch = delivery_new_batch(e, TEXT("bat"), 3, 1);
		for (int n = 0; n < 3; n++)
			delivery_add_event(batch, TEXT("evt"), 0, 0);
		lanes_add(lanes, batch);
	}
	assert_int_equal(lanes_held(lanes), 6);
	struct delivery *first = lanes_next(lanes);
	assert_int_equal(lanes_held(lanes), 6);
	assert_int_equal(lanes_under_way(lanes), 1); /* POSTs */
	lanes_done(lanes, first, LANE_PAUSED, &unused);
	assert_int_equal(lanes_held(lanes), 0);
	assert_int_equal(unused.count, 3);
	delivery_free(&first);
	delivery_list_free(&unused);
	assert_int_equal(unused.count, 0);
	lanes_free(&lanes);
	endpoint_free(&e);
}

struct holds {
	size_t lanes, holds, may;
};

static void note_lane(const struct endpoint *endpoint, size_t holds, size_t may, void *cookie)
{
	struct holds *out = cookie;
	(void)endpoint;
	out->lanes++;
	out->holds = holds;
	out->may = may;
}

static struct holds look(struct lanes *lanes, size_t share)
{
	struct holds out = {0};
	lanes_each(lanes, share, note_lane, &out);
	return out;
}

static void test_room_grows_with_success(void **state)
{
	struct lanes *lanes = lanes_new(100, 4, FAILURES);
	struct endpoint *e = endpoint("e");
	struct delivery_list unused = {0};
	(void)state;
	add(lanes, e, 20);
	assert_int_equal(look(lanes, 500).may, 2);
	done(lanes, lanes_next(lanes), true, &unused);
	assert_int_equal(look(lanes, 500).may, 4);
	for (int i = 0; i < 9; i++)
		done(lanes, lanes_next(lanes), true, &unused);
	assert_int_equal(look(lanes, 500).may, 500); /* the share */
	assert_int_equal(look(lanes, 500).holds, 10);
	struct delivery *d = lanes_next(lanes); /* not tried: all is as it was */
	lanes_done(lanes, d, LANE_UNTRIED, &unused);
	delivery_free(&d);
	assert_int_equal(look(lanes, 500).may, 500);
	done(lanes, lanes_next(lanes), false, &unused);
	assert_int_equal(look(lanes, 500).may, 2);
	for (int i = 0; i < FAILURES - 2; i++)
		done(lanes, lanes_next(lanes), false, &unused);
	d = lanes_next(lanes); /* no success either: one more failure is the last that it has */
	lanes_done(lanes, d, LANE_UNTRIED, &unused);
	delivery_free(&d);
	assert_int_equal(unused.count, 0);
	done(lanes, lanes_next(lanes), false, &unused);
	assert_true(unused.count > 0);
	delivery_list_free(&unused);
	lanes_free(&lanes);
	endpoint_free(&e);
}

static void test_batches_have_room(void **state)
{
	struct lanes *lanes = lanes_new(100, 4, FAILURES);
	struct endpoint *e = endpoint("e");
	struct delivery_list unused = {0};
	(void)state;
	e->batch_max = 1000;
	add(lanes, e, 2);
	assert_int_equal(look(lanes, 500).may, 1000);
	done(lanes, lanes_next(lanes), true, &unused);
	assert_int_equal(look(lanes, 500).may, 2000); /* two of them, whatever the share */
	lanes_free(&lanes);
	endpoint_free(&e);
}

static void test_lanes_rest(void **state)
{
	struct lanes *lanes = lanes_new(100, 4, FAILURES);
	struct endpoint *well = endpoint("well"), *ill = endpoint("ill");
	struct delivery_list unused = {0};
	(void)state;
	add(lanes, well, 1);
	done(lanes, lanes_next(lanes), true, &unused);
	add(lanes, ill, 1);
	done(lanes, lanes_next(lanes), false, &unused);
	struct holds holds = look(lanes, 500);
	assert_int_equal(holds.lanes, 1);
	assert_int_equal(holds.holds, 0);
	assert_int_equal(holds.may, 4);
	add(lanes, well, 3); /* goes on where it was */
	struct delivery *first = lanes_next(lanes), *second = lanes_next(lanes);
	assert_true(first && second && !lanes_next(lanes));
	done(lanes, first, true, &unused);
	done(lanes, second, true, &unused);
	done(lanes, lanes_next(lanes), true, &unused);
	for (int i = 0; i < 300; i++) { /* not for ever: others came since */
		char id[16];
		snprintf(id, sizeof(id), "e%d", i);
		struct endpoint *e = endpoint(id);
		add(lanes, e, 1);
		done(lanes, lanes_next(lanes), true, &unused);
		endpoint_free(&e);
	}
	assert_int_equal(look(lanes, 500).lanes, 256);
	add(lanes, well, 2);
	first = lanes_next(lanes);
	assert_ptr_equal(first->endpoint, well);
	assert_null(lanes_next(lanes));
	delivery_free(&first);
	lanes_free(&lanes);
	endpoint_free(&well);
	endpoint_free(&ill);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lanes_take_turns_and_grow),
		cmocka_unit_test(test_total),
		cmocka_unit_test(test_failures_give_up_what_waits),
		cmocka_unit_test(test_held_counts_events),
		cmocka_unit_test(test_room_grows_with_success),
		cmocka_unit_test(test_batches_have_room),
		cmocka_unit_test(test_lanes_rest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
