/* Cores of made-up machines: a folder of each test's own holds its sys/ and proc/. */
#include <probflow/cores.h>

#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include "scratch.h"

static const char *machine; /* the folder of the test that runs */

static void begin(const char *name)
{
    machine = in_dir(name);
    assert_int_equal(mkdir(machine, 0777), 0);
}

/* A file of the machine and the folders above it. */
static void put(const char *text, const char *fmt, ...)
{
    char path[1024];
    size_t root = strlen(machine);
    va_list ap;
    va_start(ap, fmt);
    strcpy(path, machine);
    vsnprintf(path + root, sizeof path - root, fmt, ap);
    va_end(ap);
    for (char *s = path + root + 1; (s = strchr(s, '/')); *s++ = '/') {
        *s = 0;
        mkdir(path, 0777);
    }
    spill(path, text, strlen(text));
}

static void siblings(int cpu, const char *list)
{
    put(list, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
}

/* The CPUs first, first + step, ... of the machine. */
static pf_cores cores(int first, int n, int step)
{
    pf_cpus allowed = {0};
    pf_cores c;
    for (int i = 0; i < n; i++)
        CPU_SET_S((size_t)(first + i * step), sizeof allowed, allowed.part);
    pf_cores_find(machine, &allowed, &c);
    return c;
}

static int quota(void)
{
    return cores(0, 1, 1).quota;
}

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"

static void a_machine_that_tells_nothing_has_a_core_for_each_cpu_and_no_quota(void **state)
{
    (void)state;
    begin("bare");
    pf_cores c = cores(3, 5, 1);
    assert_int_equal(c.n, 5);
    assert_int_equal(c.cpus, 5);
    assert_int_equal(c.quota, INT_MAX);
    assert_int_equal(cores(0, 0, 1).n, 1);
    put(V2_MOUNT, "/proc/self/mountinfo"); /* mounted, but we are in no group */
    put("100000 100000\n", "/sys/fs/cgroup/cpu.max");
    assert_int_equal(quota(), INT_MAX);
}

static void a_core_counts_once_if_any_of_its_hyperthreads_is_allowed(void **state)
{
    (void)state;
    begin("far"); /* 64 cores, siblings 64 apart */
    for (int i = 0; i < 64; i++) {
        char list[16];
        snprintf(list, sizeof list, "%d,%d\n", i, i + 64);
        siblings(i, list);
        siblings(i + 64, list);
    }
    assert_int_equal(cores(0, 128, 1).n, 64);
    assert_int_equal(cores(0, 128, 1).cpus, 128);
    assert_int_equal(cores(0, 64, 1).n, 64);
    assert_int_equal(cores(64, 64, 1).n, 64);
    assert_int_equal(cores(0, 66, 1).n, 64);
    assert_int_equal(cores(60, 8, 1).n, 8); /* 60..63 and 0..3 by their second siblings */

    begin("near"); /* four cores, siblings side by side, in the newer file */
    for (int i = 0; i < 8; i++)
        put(i < 2   ? "0-1\n"
            : i < 4 ? "2-3\n"
            : i < 6 ? "4-5\n"
                    : "6-7\n",
            "/sys/devices/system/cpu/cpu%d/topology/core_cpus_list", i);
    assert_int_equal(cores(0, 8, 1).n, 4);
    assert_int_equal(cores(0, 4, 2).n, 4);
    assert_int_equal(cores(1, 4, 2).n, 4);
    assert_int_equal(cores(1, 2, 1).n, 2);
    assert_int_equal(cores(2, 2, 1).n, 1);
}

static void hyperthreads_of_a_core_stand_for_the_same_core_and_other_cores_do_not(void **state)
{
    (void)state;
    begin("pairs");
    for (int i = 0; i < 4; i++) siblings(i, i % 2 ? "1,3\n" : "0,2\n");
    pf_cores a = cores(0, 1, 1), b = cores(2, 1, 1), other = cores(3, 1, 1);
    assert_memory_equal(&a.first, &b.first, sizeof a.first);
    assert_true(CPU_ISSET_S(1, sizeof other.first, other.first.part));
    assert_int_equal(CPU_COUNT_S(sizeof other.first, other.first.part), 1);
}

static void a_machine_of_3000_cpus_is_counted_whole(void **state)
{
    (void)state;
    begin("large"); /* the last 200 tell their siblings: files are what takes the time */
    for (int i = 2800; i < 3000; i++) {
        char list[32];
        snprintf(list, sizeof list, i % 4 < 2 ? "%d-%d\n" : "%d,%d\n", i / 2 * 2,
                 i / 2 * 2 + 1);
        siblings(i, list);
    }
    pf_cores c = cores(0, 3000, 1);
    assert_int_equal(c.n, 2900);
    assert_int_equal(c.cpus, 3000);
    assert_true(CPU_ISSET_S(2998, sizeof c.first, c.first.part));
    assert_false(CPU_ISSET_S(2999, sizeof c.first, c.first.part));
    assert_int_equal(cores(2800, 200, 1).n, 100);
    assert_int_equal(cores(2801, 100, 2).n, 100);
}

static void topology_that_makes_no_sense_leaves_a_cpu_on_its_own(void **state)
{
    (void)state;
    begin("nonsense");
    static const char *const lists[] = {"",      "banana\n", "-1\n", "99999999999999999999\n",
                                        "6,7\n", /* of others, all after this one */
                                        ",0\n"};
    for (int i = 0; i < 6; i++) siblings(i, lists[i]);
    assert_int_equal(cores(0, 6, 1).n, 6);
}

static void the_least_quota_of_the_group_and_its_ancestors_holds(void **state)
{
    (void)state;
    begin("v2");
    put(V2_MOUNT, "/proc/self/mountinfo");
    put("0::/job/step/task\n", "/proc/self/cgroup");
    put("max 100000\n", "/sys/fs/cgroup/job/step/task/cpu.max");
    assert_int_equal(quota(), INT_MAX);
    put("1600000 100000\n", "/sys/fs/cgroup/cpu.max"); /* of a container */
    assert_int_equal(quota(), 16);
    put("800000 100000\n", "/sys/fs/cgroup/job/cpu.max"); /* of the ancestor after next */
    assert_int_equal(quota(), 8);
    put("100000 50000\n", "/sys/fs/cgroup/job/step/task/cpu.max");
    assert_int_equal(quota(), 2);
    put("100000 100000\n", "/sys/fs/cgroup/job/other/cpu.max"); /* of somebody else */
    assert_int_equal(quota(), 2);
    put("0::/\n", "/proc/self/cgroup");
    assert_int_equal(quota(), 16);
}

static void a_part_of_a_cpu_is_a_thread(void **state)
{
    (void)state;
    static const char *const max[] = {"150000 100000\n", "100001 100000\n", "1000 100000\n"};
    begin("parts");
    put(V2_MOUNT, "/proc/self/mountinfo");
    put("0::/\n", "/proc/self/cgroup");
    for (int i = 0; i < 3; i++) {
        put(max[i], "/sys/fs/cgroup/cpu.max");
        assert_int_equal(quota(), i < 2 ? 2 : 1);
    }
}

static void version_1_has_a_group_of_its_own_for_cpu_time(void **state)
{
    (void)state;
    begin("v1");
    put("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
        "32 31 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
        "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpuacct,cpu\n"
        "34 31 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        "/proc/self/mountinfo");
    put("5:cpuset:/set\n4:cpuacct,cpu:/job/task\n1:name=systemd:/init\n0::/init\n",
        "/proc/self/cgroup");
    assert_int_equal(quota(), INT_MAX);
    put("-1\n", "/sys/fs/cgroup/cpu,cpuacct/job/task/cpu.cfs_quota_us");
    put("100000\n", "/sys/fs/cgroup/cpu,cpuacct/job/task/cpu.cfs_period_us");
    assert_int_equal(quota(), INT_MAX);
    put("400000\n", "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us");
    put("100000\n", "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us");
    assert_int_equal(quota(), 4);
    put("100000 100000\n", "/sys/fs/cgroup/unified/cpu.max"); /* both versions at once */
    assert_int_equal(quota(), 1);
}

static void a_mount_of_a_part_of_the_tree_is_read_from_there(void **state)
{
    (void)state;
    static const struct {
        const char *top, *group;
        int quota;
    } cases[] = {
        {"/docker/a", "/docker/a", 3},
        {"/docker/a", "/docker/a/sub", 2},
        {"/docker/a", "/docker/ab", -1},
        {"/docker/a", "/", -1},
        {"/..", "/", 3}, /* the mount begins above our namespace */
        {"/..", "/../sub", 2},
        {"/", "/../sub", -1}, /* we are outside of it */
    };
    begin("part");
    put("300000 100000\n", "/sys/fs/cgroup/cpu.max");
    put("200000 100000\n", "/sys/fs/cgroup/sub/cpu.max");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        snprintf(text, sizeof text, "30 23 0:26 %s /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
                 cases[i].top);
        put(text, "/proc/self/mountinfo");
        snprintf(text, sizeof text, "0::%s\n", cases[i].group);
        put(text, "/proc/self/cgroup");
        assert_int_equal(quota(), cases[i].quota > 0 ? cases[i].quota : INT_MAX);
    }
}

static void a_quota_that_makes_no_sense_is_none(void **state)
{
    (void)state;
    static const char *const max[] = {
        "",         "banana\n",         "max\n",
        "100000\n", "100000 0\n",       "-1 100000\n",
        "0 100000", "100000 -100000\n", "99999999999999999999999 1\n"};
    begin("spoilt");
    put("\n - cgroup2 \nrw cgroup2\n" V2_MOUNT, "/proc/self/mountinfo");
    put("\nnothing\n0:\n0::/job\n", "/proc/self/cgroup");
    for (size_t i = 0; i < sizeof max / sizeof *max; i++) {
        put(max[i], "/sys/fs/cgroup/job/cpu.max");
        assert_int_equal(quota(), INT_MAX);
    }
    put("100000 100000\n",
        "/sys/fs/cgroup/job/cpu.max"); /* and sense between nonsense is seen */
    assert_int_equal(quota(), 1);
}

static void slurm_gives_cores_in_hyperthreads_or_in_cores(void **state)
{
    (void)state;
    static const struct {
        int n, cpus;
        const char *per_task, *on_node, *per_core;
        int ranks, want;
    } cases[] = {
        {64, 128, NULL, NULL, NULL, 1, 64}, /* no SLURM */
        {64, 64, "8", NULL, NULL, 1, 8},    /* no hyperthreads */
        {64, 128, "8", NULL, NULL, 1, 4},   /* task/none: the mask is the host */
        {4, 8, "8", NULL, NULL, 1, 4},      /* a mask of its own */
        {4, 8, "7", NULL, NULL, 1, 4},      /* whole cores are given */
        {8, 16, "8", NULL, NULL, 1, 8},     /* SLURM counts cores here */
        {8, 8, "8", NULL, NULL, 1, 8},      /* --hint=nomultithread, a mask of its own */
        {64, 128, "8", NULL, "1", 1, 8},    /* --threads-per-core=1, task/none */
        {64, 128, "1", NULL, NULL, 1, 1},
        {64, 128, NULL, "16", NULL, 4, 2}, /* without --cpus-per-task: the job's on this host */
        {64, 128, "4", "128", NULL, 2, 2},
        {64, 128, "all", "0", "-1", 1, 64},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const name[] = {"SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE",
                                    "SLURM_THREADS_PER_CORE"};
        const char *const value[] = {cases[i].per_task, cases[i].on_node, cases[i].per_core};
        for (int k = 0; k < 3; k++)
            if (value[k]) setenv(name[k], value[k], 1);
            else unsetenv(name[k]);
        pf_cores own = {.n = cases[i].n, .cpus = cases[i].cpus};
        assert_int_equal(pf_cores_slurm(&own, cases[i].ranks), cases[i].want);
    }
}

static void this_process_may_use_the_cpus_it_was_left(void **state)
{
    (void)state;
    pf_cpus all, one = {0}, seen;
    pf_cores c;
    pf_cores_allowed(&all);
    pf_cores_find("", &all, &c);
    assert_in_range(c.n, 1, c.cpus);
    assert_int_equal(c.cpus, CPU_COUNT_S(sizeof all, all.part));
    size_t cpu = 0;
    while (!CPU_ISSET_S(cpu, sizeof all, all.part)) cpu++;
    CPU_SET_S(cpu, sizeof one, one.part);
    assert_int_equal(sched_setaffinity(0, sizeof one, one.part), 0);
    pf_cores_allowed(&seen);
    assert_memory_equal(&seen, &one, sizeof one);
    pf_cores_find("", &seen, &c);
    assert_int_equal(c.n, 1);
    assert_int_equal(sched_setaffinity(0, sizeof all, all.part), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_machine_that_tells_nothing_has_a_core_for_each_cpu_and_no_quota),
        cmocka_unit_test(a_core_counts_once_if_any_of_its_hyperthreads_is_allowed),
        cmocka_unit_test(hyperthreads_of_a_core_stand_for_the_same_core_and_other_cores_do_not),
        cmocka_unit_test(a_machine_of_3000_cpus_is_counted_whole),
        cmocka_unit_test(topology_that_makes_no_sense_leaves_a_cpu_on_its_own),
        cmocka_unit_test(the_least_quota_of_the_group_and_its_ancestors_holds),
        cmocka_unit_test(a_part_of_a_cpu_is_a_thread),
        cmocka_unit_test(version_1_has_a_group_of_its_own_for_cpu_time),
        cmocka_unit_test(a_mount_of_a_part_of_the_tree_is_read_from_there),
        cmocka_unit_test(a_quota_that_makes_no_sense_is_none),
        cmocka_unit_test(slurm_gives_cores_in_hyperthreads_or_in_cores),
        cmocka_unit_test(this_process_may_use_the_cpus_it_was_left),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
