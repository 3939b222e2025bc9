/* Cores by affinity, topology and control groups.
 *
 *   /sys/devices/system/cpu/cpuN/topology   the CPUs of N's core, "0,64" or "0-1"
 *   /proc/self/mountinfo                    where control groups are mounted, from which group on
 *   /proc/self/cgroup                       our group: version 2 has one, version 1 one a controller
 *   cpu.max; cpu.cfs_quota_us and _period_us   time per period of a group, all processes together
 *
 * In a container the mounted tree may begin at the container's own group: the limits above it
 * cannot be seen. */
#include <probflow/cores.h>

#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 4096, PART = 1024 };

typedef struct mount {
    int v2;
    char top[PART]; /* the group at the mount point; "/..": above what this process may see */
    char point[PART];
} mount;

__attribute__((format(printf, 1, 2))) static FILE *open_at(const char *fmt, ...)
{
    char path[2 * LINE];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    return n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
}

/* One or two whole numbers at the begin of a file, which it closes; returns how many. */
static int numbers(FILE *f, long *a, long *b)
{
    if (!f) return 0;
    int n = fscanf(f, "%ld %ld", a, b);
    fclose(f);
    return n > 0 ? n : 0;
}

static int core_of(const char *root, int cpu)
{
    static const char *const lists[] = {"thread_siblings_list",
                                        "core_cpus_list"}; /* old, new */
    for (int i = 0; i < 2; i++) {
        long first, rest;
        FILE *f = open_at("%s/sys/devices/system/cpu/cpu%d/topology/%s", root, cpu, lists[i]);
        /* Lists ascend and hold the CPU itself. */
        if (numbers(f, &first, &rest) && first >= 0 && first <= cpu) return (int)first;
    }
    return cpu;
}

/* 1: word is in a list like "rw,cpu,cpuacct". */
static int has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *s = list; s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
        if (!strncmp(s, word, n) && strchr(",\n", s[n])) return 1; /* or the end */
    return 0;
}

/* 1: a line of mountinfo that mounts the groups by which CPU time is shared out. */
static int is_cpu_mount(const char *line, mount *m)
{
    const char *options = strrchr(line, ' ');
    m->v2 = strstr(line, " - cgroup2 ") != NULL;
    if (!m->v2 && !(strstr(line, " - cgroup ") && has_word(options + 1, "cpu"))) return 0;
    return sscanf(line, "%*s %*s %*s %1023s %1023s", m->top, m->point) == 2;
}

/* Our group, "/a/b"; 0: there is none. */
static int own_group(const char *root, int v2, char group[LINE])
{
    int found = 0;
    FILE *f = open_at("%s/proc/self/cgroup", root);
    while (f && !found && fgets(group, LINE, f)) { /* number:controllers:group */
        char *list = strchr(group, ':'), *at = list ? strchr(list + 1, ':') : NULL;
        if (!at) continue;
        *at++ = 0;
        found = v2 ? !list[1] : has_word(list + 1, "cpu");
        if (!found) continue;
        memmove(group, at, strlen(at) + 1);
        group[strcspn(group, "\n")] = 0;
    }
    if (f) fclose(f);
    return found;
}

/* Our group as seen from the mount point; NULL: it is not in the mounted tree. */
static char *below(const mount *m, char *group)
{
    size_t n = strcmp(m->top, "/") ? strlen(m->top) : 0;
    if (!strncmp(group, m->top, n) && strchr("/", group[n])) /* or the end */
        return strncmp(group + n, "/..", 3) ? group + n : NULL;
    /* From above what we may see: an ancestor of ours, the way from it to us unknown. */
    return strncmp(m->top, "/..", 3) ? NULL : group + strlen(group);
}

/* CPUs' worth of time that one group may use. */
static double limit_of(const char *root, const mount *m, const char *group)
{
    long time = 0, period = 0, rest;
    if (m->v2) {
        numbers(open_at("%s%s%s/cpu.max", root, m->point, group), &time, &period);
    } else {
        numbers(open_at("%s%s%s/cpu.cfs_quota_us", root, m->point, group), &time, &rest);
        numbers(open_at("%s%s%s/cpu.cfs_period_us", root, m->point, group), &period, &rest);
    }
    return time > 0 && period > 0 ? (double)time / (double)period : INFINITY;
}

static double least_limit(const char *root)
{
    char line[LINE], group[LINE];
    double least = INFINITY;
    mount m;
    FILE *f = open_at("%s/proc/self/mountinfo", root);
    while (f && fgets(line, sizeof line, f)) {
        if (!is_cpu_mount(line, &m) || !own_group(root, m.v2, group)) continue;
        char *at = below(&m, group), *end = at ? at + strlen(at) : NULL;
        for (; end; end = strrchr(at, '/')) { /* from our group up to the mount point */
            *end = 0;
            least = fmin(least, limit_of(root, &m, at));
        }
    }
    if (f) fclose(f);
    return least;
}

void pf_cores_allowed(pf_cpus *out)
{
    static const pf_cpus none;
    int id[PF_CPUS_MAX];
    *out = none;
    if (sched_getaffinity(0, sizeof *out, out->part))
        for (long i = 0; i < sysconf(_SC_NPROCESSORS_ONLN); i++)
            CPU_SET_S((size_t)i, sizeof *out, out->part);
    int places = omp_get_proc_bind() == omp_proc_bind_false ? 0 : omp_get_num_places();
    for (int p = 0; p < places; p++) {
        int n = omp_get_place_num_procs(p);
        if (n > PF_CPUS_MAX) continue;
        omp_get_place_proc_ids(p, id);
        for (int i = 0; i < n; i++) CPU_SET_S((size_t)id[i], sizeof *out, out->part);
    }
}

void pf_cores_find(const char *root, const pf_cpus *allowed, pf_cores *out)
{
    double limit = least_limit(root);
    memset(out, 0, sizeof *out);
    for (int cpu = 0; cpu < PF_CPUS_MAX; cpu++) {
        if (!CPU_ISSET_S((size_t)cpu, sizeof *allowed, allowed->part)) continue;
        CPU_SET_S((size_t)core_of(root, cpu), sizeof out->first, out->first.part);
        out->cpus++;
    }
    out->n = CPU_COUNT_S(sizeof out->first, out->first.part);
    if (out->n < 1) out->n = out->cpus = 1; /* something runs us */
    out->quota = limit < INT_MAX ? (int)ceil(limit) : INT_MAX;
}

static int env_number(const char *name)
{
    const char *s = getenv(name);
    return s ? atoi(s) : 0;
}

static int divide_up(int a, int b)
{
    return a / b + (a % b > 0);
}

int pf_cores_slurm(const pf_cores *own, int ranks)
{
    int cpus = env_number("SLURM_CPUS_PER_TASK");        /* set with --cpus-per-task only */
    int per_core = env_number("SLURM_THREADS_PER_CORE"); /* with --threads-per-core only */
    if (cpus < 1) cpus = divide_up(env_number("SLURM_CPUS_ON_NODE"), ranks);
    if (cpus < 1 || cpus == own->n) return own->n;
    if (per_core < 1) per_core = divide_up(own->cpus, own->n);
    return divide_up(cpus, per_core);
}
