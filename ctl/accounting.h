#ifndef CTL_ACCOUNTING_H
#define CTL_ACCOUNTING_H

/* Accounting files on disk: DIR/CUSTOMER/waybill-YYYYMMDDTHH.jsonl (or .csv; with .zst behind it compressed), and beside
 * each its manifest, a JSON object with the file's name, number of events, first and last seq, bytes and SHA-256 as it
 * stands on the disk, and the SHA-256 of the manifest before it (empty for the first): whoever has the last manifest can
 * prove every file before.
 *
 * One run at a time writes them (waybill accounting write takes a lock in Postgres), and one node: the chain of a customer is
 * on one disk. A file is written under a name that begins with a dot, synced, then renamed, its manifest after it: a manifest's file is
 * always whole. */

#include "common/text.h"

struct accounting_file {
	const char *folder; /* DIR/CUSTOMER */
	const char *customer;
	char name[64]; /* waybill-20261121T07.jsonl */
	uint64_t events, first_seq, last_seq, bytes;
	char sha256[65];
	char previous[65]; /* of the manifest before; "" for the first */
	char manifest[65]; /* of this one's bytes */
};

struct accounting_writer;

/* Makes the folder if need be and begins FILE->name. NULL and the reason in errno. */
struct accounting_writer *accounting_begin(const struct accounting_file *file);
/* Appends bytes; errors are remembered until the end. */
void accounting_add(struct accounting_writer *writer, struct text bytes);
/* Puts file and manifest in place and fills FILE's bytes and hashes. 0; or -1 with errno, nothing left behind. */
int accounting_end(struct accounting_writer **writer, struct accounting_file *file);
/* Leaves nothing behind. */
void accounting_drop(struct accounting_writer **writer);

/* Checks every manifest in DIR and in its folders (so DIR may be a customer's as well): the file is there and is what the
 * manifest says, the chain and the seqs are unbroken. VISIT is called for each fault, as for a folder that cannot be read.
 * Returns how many manifests were read; -1 with errno when DIR cannot be. */
typedef void accounting_visit(void *context, const char *path, const char *fault);
long accounting_verify(const char *dir, accounting_visit *visit, void *context);

#endif
