/* Runs a fuzz target's entry point over files: the seeds are tests in every build. */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *folder, const char *name)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *file = fopen(path, "rb");
	if (!file)
		return -1;
	size_t cap = 1 << 20;
	uint8_t *bytes = malloc(cap);
	size_t len = bytes ? fread(bytes, 1, cap, file) : 0;
	fclose(file);
	/* An exact-size copy, so that AddressSanitizer sees a read behind the end. */
	uint8_t *exact = malloc(len ? len : 1);
	for (size_t i = 0; exact && i < len; i++)
		exact[i] = bytes[i];
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	free(bytes);
	return 0;
}

int main(int argc, char **argv)
{
	int ran = 0;
	for (int i = 1; i < argc; i++) {
		DIR *folder = opendir(argv[i]);
		if (!folder) {
			perror(argv[i]);
			return 1;
		}
		for (struct dirent *entry; (entry = readdir(folder));)
			if (entry->d_name[0] != '.' && replay(argv[i], entry->d_name) == 0)
				ran++;
		closedir(folder);
	}
	printf("%d seeds\n", ran);
	return ran == 0;
}
