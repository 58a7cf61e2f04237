/* What libcurl's multi interface can do at best: the same POST again and again, nothing decided, nothing kept.
 *
 *	post_multi URL POSTS CONNECTIONS BYTES        prints posts per second */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>

#include "common/memory.h"

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t drop(char *bytes, size_t size, size_t count, void *cookie)
{
	(void)bytes;
	(void)cookie;
	return size * count;
}

static CURL *make(const char *url, const char *body, struct curl_slist *headers)
{
	CURL *easy = curl_easy_init();
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop);
	return easy;
}

static void take_finished(CURLM *multi, long *started, long *finished, long posts)
{
	int left;
	for (CURLMsg *message; (message = curl_multi_info_read(multi, &left));) {
		CURL *easy = message->easy_handle;
		long status = 0;
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
		if (status != 200)
			exit(1);
		curl_multi_remove_handle(multi, easy);
		++*finished;
		if (*started < posts) {
			++*started;
			curl_multi_add_handle(multi, easy);
		} else {
			curl_easy_cleanup(easy);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 64;
	long posts = strtol(argv[2], NULL, 10), connections = strtol(argv[3], NULL, 10), started = 0, finished = 0;
	size_t bytes = strtoul(argv[4], NULL, 10);
	char *body = memory_zero(bytes + 1, 1);
	memset(body, 'x', bytes);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	CURLM *multi = curl_multi_init();
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	double start = now_s();
	for (; started < connections; started++)
		curl_multi_add_handle(multi, make(argv[1], body, headers));
	while (finished < posts) {
		int running;
		curl_multi_perform(multi, &running);
		take_finished(multi, &started, &finished, posts);
		if (finished < posts)
			curl_multi_poll(multi, NULL, 0, 100, NULL);
	}
	printf("%.0f\n", (double)posts / (now_s() - start));
	curl_multi_cleanup(multi);
	curl_slist_free_all(headers);
	curl_global_cleanup();
	free(body);
	return 0;
}
