/* What the CPU can do, by CPUID and by what the system saves of its registers (XCR0).
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapters 13 to 15;
 * the levels are those of the x86-64 psABI. */
#include <probflow/isa.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char variable[] = "PROBFLOW_ISA";

enum { UNKNOWN = -1, BRAND = 49 };

#if defined(__x86_64__)
#include <cpuid.h>

static const char *const names[PF_ISA_COUNT] = {"sse2", "avx2", "avx512", "avx512_bf16", "amx"};

enum { EAX, EBX, ECX, EDX, REGISTERS };

typedef struct feature {
    pf_isa level;        /* needs it */
    unsigned leaf, part; /* of CPUID */
    int reg;
    unsigned bits;
} feature;

#define BIT(n) (1u << (n))

static const feature features[] = {
    {PF_ISA_AVX2, 1, 0, ECX,
     BIT(12) | BIT(22) | BIT(27) | BIT(28) | BIT(29)},  /* fma movbe osxsave avx f16c */
    {PF_ISA_AVX2, 7, 0, EBX, BIT(3) | BIT(5) | BIT(8)}, /* bmi avx2 bmi2 */
    {PF_ISA_AVX2, 0x80000001u, 0, ECX, BIT(5)},         /* lzcnt */
    {PF_ISA_AVX512, 7, 0, EBX,
     BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31)}, /* f dq cd bw vl */
    {PF_ISA_AVX512_BF16, 7, 1, EAX, BIT(5)},           /* avx512_bf16 */
    {PF_ISA_AMX, 7, 0, EDX, BIT(22) | BIT(24)},        /* amx-bf16 amx-tile */
};

/* Registers that the system must save: SSE and AVX; opmask and both halves of ZMM; tiles. */
static const unsigned long long saved[PF_ISA_COUNT] = {0, 0x6, 0xE6, 0xE6, 0x600E6};

static int has(const feature *f)
{
    unsigned r[REGISTERS];
    if (!__get_cpuid_count(f->leaf, f->part, &r[EAX], &r[EBX], &r[ECX], &r[EDX])) return 0;
    return (r[f->reg] & f->bits) == f->bits;
}

static unsigned long long saved_by_system(void)
{
    const feature osxsave = {PF_ISA_AVX2, 1, 0, ECX, BIT(27)};
    if (!has(&osxsave)) return 0;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (unsigned long long)high << 32 | low;
}

static pf_isa detect(void)
{
    int best = PF_ISA_COUNT - 1;
    unsigned long long state = saved_by_system();
    for (int level = PF_ISA_COUNT - 1; level > 0; level--)
        if ((state & saved[level]) != saved[level]) best = level - 1;
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if ((int)features[i].level <= best && !has(&features[i]))
            best = (int)features[i].level - 1;
    return (pf_isa)best;
}

/* Clouds shorten the brand to "AMD EPYC": family and model tell which. */
static void generation(char *text, size_t n)
{
    unsigned r[REGISTERS];
    if (!__get_cpuid(1, &r[EAX], &r[EBX], &r[ECX], &r[EDX])) return;
    unsigned family = r[EAX] >> 8 & 15, model = r[EAX] >> 4 & 15;
    if (family == 15 || family == 6) model |= r[EAX] >> 12 & 0xF0;
    if (family == 15) family += r[EAX] >> 20 & 255;
    snprintf(text, n, " (family %u, model %u)", family, model);
}

static void brand(char name[BRAND])
{
    unsigned r[12] = {0};
    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002u + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2],
                         &r[4 * i + 3]))
            return;
    memcpy(name, r, sizeof r);
}
#else
static const char *const names[PF_ISA_COUNT] = {"portable", NULL, NULL, NULL, NULL};

static pf_isa detect(void)
{
    return PF_ISA_BASE;
}

static void generation(char *text, size_t n)
{
    (void)text, (void)n;
}

static void brand(char name[BRAND])
{
    (void)name;
}
#endif

const char *pf_isa_name(pf_isa isa)
{
    return names[isa];
}

pf_isa pf_isa_best(void)
{
    static _Atomic int known = UNKNOWN;
    if (known == UNKNOWN) known = (int)detect();
    return (pf_isa)known;
}

/* The level that PROBFLOW_ISA names; UNKNOWN: none. */
static int asked(void)
{
    const char *word = getenv(variable);
    for (int i = 0; word && i < PF_ISA_COUNT; i++)
        if (names[i] && !strcmp(word, names[i])) return i;
    return UNKNOWN;
}

static int is_set(void)
{
    const char *word = getenv(variable);
    return word && *word;
}

pf_status pf_isa_check(void)
{
    if (!is_set()) return PF_OK;
    char all[80] = "";
    for (int i = 0; i < PF_ISA_COUNT && names[i]; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", names[i]);
    PF_REQUIRE(asked() != UNKNOWN, PF_EARG, "%s=%s is no instruction set; it may be %s",
               variable, getenv(variable), all);
    char cpu[128];
    PF_REQUIRE(asked() <= (int)pf_isa_best(), PF_EARG,
               "%s=%s is more than this machine has: the best of %s is %s", variable,
               getenv(variable), pf_cpu_name(cpu, sizeof cpu), pf_isa_name(pf_isa_best()));
    return PF_OK;
}

static _Atomic int used = UNKNOWN;

pf_isa pf_isa_used(void)
{
    if (used == UNKNOWN) {
        int want = asked(), best = (int)pf_isa_best();
        used = want == UNKNOWN || want > best ? best : want;
    }
    return (pf_isa)used;
}

void pf_isa_lower(pf_isa to)
{
    if (to < pf_isa_used()) used = (int)to;
}

int pf_isa_is_fixed(void)
{
    return asked() != UNKNOWN || pf_isa_used() < pf_isa_best();
}

int pf_isa_clone(void)
{
    pf_isa isa = pf_isa_used();
    return isa < PF_ISA_AVX512 ? (int)isa : PF_ISA_AVX512;
}

const char *pf_cpu_name(char *buf, size_t n)
{
    char name[BRAND] = "", which[40] = "", *from = name;
    brand(name);
    generation(which, sizeof which);
    while (*from == ' ') from++;
    for (size_t k = strlen(from); k && from[k - 1] == ' '; k--) from[k - 1] = 0;
    snprintf(buf, n, "%s%s", *from ? from : "unknown CPU", which);
    return buf;
}
