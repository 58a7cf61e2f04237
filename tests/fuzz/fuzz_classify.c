/* Replies, judged by the built-in rules; and the same bytes as a rules file. */

#include <stdlib.h>
#include <string.h>

#include "common/classify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *context, bool fault, const char *remark)
{
	(void)context;
	(void)fault;
	(void)remark;
}

static void judge(struct text words)
{
	static struct rules *rules;
	struct verdict verdict;
	if (!rules)
		rules = rules_builtin();
	classify(rules, &(struct reply_facts){.words = words, .final = true}, &verdict);
	if (!verdict.rule || verdict.category == CATEGORY_NONE || verdict.category >= BOUNCE_CATEGORY_MAX)
		abort();
	classify(rules, &(struct reply_facts){.words = words}, &verdict);
	if (verdict.class == CLASS_HARD) /* it is tried again */
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *error = NULL;
	judge(text_at(data, size));
	struct rules *own = rules_parse("fuzz", text_at(data, size), &error);
	if (!own != !!error)
		abort();
	if (own)
		rules_lint(own, ignore, NULL);
	rules_free(&own);
	free(error);
	return 0;
}
