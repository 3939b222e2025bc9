/* Files as wholes, and the right to write them. */
#ifndef PROBFLOW_FILE_H
#define PROBFLOW_FILE_H

#include <limits.h>
#include <probflow/status.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pf_bytes {
    const void *p;
    size_t n;
} pf_bytes;

/* Local.  All n bytes at offset `at`, in as many writes as it takes: 0, or the error number. */
int pf_write_at(int fd, const void *p, size_t n, int64_t at);

/* Local.  The name of path behind its last slash (borrowed), and the folder it lies in. */
const char *pf_file_folder(const char *path, char dir[PATH_MAX]);

/* Local.  Where a file put at path will lie: links are followed, to a target that need not exist.
 * Fails PF_EARG: there is something that is no regular file, or a loop of links; PF_EIO. */
PF_MUST_USE pf_status pf_file_target(const char *path, char target[PATH_MAX]);

/* Local.  Puts n parts, one behind the other, at the target of path, which keeps its mode: temporary
 * beside it (NAME.probflow-01234567.tmp, new, of a random name), write, sync, rename, sync of the
 * folder.  A crash leaves the old file or the new one; temporaries that killed writers of the same
 * file left are removed.
 * Fails as pf_file_target and PF_EIO; the old file is then intact (the new one in place when only the
 * folder could not be synced) and no temporary is left. */
PF_MUST_USE pf_status pf_file_put(const char *path, const pf_bytes *part, int n);

/* Local.  Removes from dir temporaries of `name` (NULL: of any file) that nobody writes any more.
 * One that is not of this user, or does not begin with head [n <= 16] as far as it goes, stays. */
void pf_file_tidy(const char *dir, const char *name, const void *head, size_t n);

/* The right to write what `path` stands for.  It ends with pf_lock_release or with the process,
 * however that ends, so the file itself means nothing.
 *
 * path  lock file, created; holds the owner's process number and host, "process N on HOST".  What
 *       holds anything else is not ours and stays as it is, an empty file stays empty
 * what  for the sentence: "run directory runs/mnist"
 *
 * Local.  Waits 3 s for a holder that is about to end, then fails PF_EIO; PF_EARG when path is no
 * lock file (a link, a device, a file of others).  Where the file system knows no locks it says so
 * in the log and goes on. */
typedef struct pf_lock pf_lock;
PF_MUST_USE pf_status pf_lock_take(const char *path, const char *what, pf_lock **out);
void pf_lock_release(pf_lock *l); /* NULL allowed */

#endif
