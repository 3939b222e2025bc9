/* Files as wholes, and the right to write them. */
#ifndef PROBFLOW_FILE_H
#define PROBFLOW_FILE_H

#include <probflow/status.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pf_bytes {
    const void *p;
    size_t n;
} pf_bytes;

/* Local.  All n bytes at offset `at`, in as many writes as it takes: 0, or the error number. */
int pf_write_at(int fd, const void *p, size_t n, int64_t at);

/* Local.  Puts n parts, one behind the other, at path: path.tmp, write, sync, rename, sync of the
 * folder.  A crash leaves the old file or the new one.
 * Fails PF_EIO; the old file is then intact (the new one in place when only the folder could not
 * be synced) and no temporary is left. */
PF_MUST_USE pf_status pf_file_put(const char *path, const pf_bytes *part, int n);

/* The right to write what `path` stands for.  It ends with pf_lock_release or with the process,
 * however that ends, so the file itself means nothing.
 *
 * path  lock file, created; holds the owner's process number and host
 * what  for the sentence: "run directory runs/mnist"
 *
 * Local.  Waits 3 s for a holder that is about to end, then fails PF_EIO.  Where the file system
 * knows no locks it says so in the log and goes on. */
typedef struct pf_lock pf_lock;
PF_MUST_USE pf_status pf_lock_take(const char *path, const char *what, pf_lock **out);
void pf_lock_release(pf_lock *l); /* NULL allowed */

#endif
