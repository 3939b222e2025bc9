/* probflow data: files of any known format -> dataset HDF5. */
#include <probflow/data.h>
#include "cli/convert_args.h"
#include <string.h>

typedef struct job {
    pf_args args;
    pf_convert_args convert;
    const char *given[PF_CLI_MAX]; /* NAME=SOURCE of --split */
    int n_given;
    const char *text, *length, *rows, *remainder;
    const char *sources[2 * PF_CLI_MAX];
    int splits[2 * PF_CLI_MAX], n;
} job;

static PF_MUST_USE pf_status parse_split(const char *text, int *split, const char **source)
{
    const char *eq = strchr(text, '=');
    for (*split = 0; eq && eq[1] && *split < PF_SPLITS; ++*split) {
        const char *name = pf_split_name(*split);
        if (strlen(name) != (size_t)(eq - text) || strncmp(name, text, strlen(name))) continue;
        *source = eq + 1;
        return PF_OK;
    }
    return pf_usage_error(
        PF_WHERE, "--split: '%s' is not NAME=SOURCE with NAME train, valid or test", text);
}

/* A source of --split is one of the arguments or one more. */
static PF_MUST_USE pf_status give_split(job *j, const char *text)
{
    const char *source = NULL;
    int split, found = 0;
    PF_TRY(parse_split(text, &split, &source));
    for (int i = 0; i < j->n; i++) {
        if (strcmp(j->sources[i], source)) continue;
        if (j->splits[i] != PF_SPLIT_UNSAID && j->splits[i] != split)
            return pf_usage_error(PF_WHERE, "--split: %s is called both %s and %s", source,
                                  pf_split_name(j->splits[i]), pf_split_name(split));
        j->splits[i] = split;
        found = 1;
    }
    if (found) return PF_OK;
    j->sources[j->n] = source;
    j->splits[j->n++] = split;
    return PF_OK;
}

static PF_MUST_USE pf_status collect(job *j)
{
    for (j->n = 0; j->n < j->args.n_positional - 1; j->n++) {
        j->sources[j->n] = j->args.positional[j->n];
        j->splits[j->n] = PF_SPLIT_UNSAID;
    }
    for (int i = 0; i < j->n_given; i++) PF_TRY(give_split(j, j->given[i]));
    if (j->n == 0) return pf_usage_error(PF_WHERE, "data needs a SOURCE and OUT.h5");
    return PF_OK;
}

/* 1 when text is the second of two words, 0 when it is the first or none is given. */
static PF_MUST_USE pf_status choose(const char *flag, const char *text, const char *first,
                                    const char *second, int *chosen)
{
    *chosen = text && !strcmp(text, second);
    if (text && !*chosen && strcmp(text, first))
        return pf_usage_error(PF_WHERE, "%s: '%s' is neither %s nor %s", flag, text, first,
                              second);
    return PF_OK;
}

static PF_MUST_USE pf_status parse_text(const job *j, pf_convert_opt *opt)
{
    long length = 0;
    opt->text = j->text;
    if (j->length) PF_TRY(pf_arg_int("--length", j->length, 1, 1 << 20, &length));
    opt->length = (int)length;
    PF_TRY(choose("--rows", j->rows, "chunks", "lines", &opt->lines));
    PF_TRY(choose("--remainder", j->remainder, "pad", "drop", &opt->drop));
    if (opt->lines && opt->drop)
        return pf_usage_error(PF_WHERE, "--remainder drop is of --rows chunks");
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    const job *j = self;
    pf_convert_opt opt;
    PF_TRY(pf_convert_args_parse(&j->convert, &opt));
    PF_TRY(parse_text(j, &opt));
    const char *out = j->args.positional[j->args.n_positional - 1];
    if (pf_comm_rank(c) != 0) return PF_OK;
    PF_TRY(pf_take_output(out, "dataset", j->sources, j->n));
    PF_TRY(pf_data_convert(j->sources, j->splits, j->n, &opt, out));
    PF_TRY(pf_store_info(out, stdout));
    return PF_OK;
}

static pf_status run(int argc, char **argv)
{
    job j = {0};
    const pf_arg flags[] = {PF_CONVERT_ARGS(j.convert),
                            {"--split", j.given, &j.n_given},
                            {"--text", &j.text, NULL},
                            {"--length", &j.length, NULL},
                            {"--rows", &j.rows, NULL},
                            {"--remainder", &j.remainder, NULL},
                            {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 1, PF_CLI_MAX, &j.args));
    PF_TRY(collect(&j));
    PF_TRY(pf_with_comm(body, &j));
    return PF_OK;
}

const pf_command pf_command_data = {
    .name = "data",
    .usage =
        "SOURCE... OUT.h5 [--split NAME=SOURCE]... [--alpha drop] [--grey | --rgb] [--crop N | "
        "HxW] [--resize N | HxW] [--shrink K] [--levels K] [--binarise RULE] [--label COLUMN]\n"
        "         [--condition COLUMN]... [--text as-is|text8|bytes|FILE] [--length L] [--rows "
        "chunks|lines] [--remainder pad|drop] [--quiet]",
    .help =
        "your own data, public files, or points of a known density -> dataset\n\n"
        "  SOURCE       one or more, known by content and name, .gz where said:\n"
        "    tables of numbers   .csv, .tsv; .txt and .dat that begin with numbers; .gz.  A "
        "row is a point,\n"
        "                        a column a value; names of columns in the first row or none\n"
        "    arrays              .npy, .npz, .h5.  Names say what an array is: images (or x, "
        "data, arr_0, points,\n"
        "                        features), labels (or y, targets), coarse, conditions; the "
        "only one needs no name.\n"
        "                        Images are integers from 0 to 255 [N,H,W], [N,H,W,C] or "
        "[N,C,H,W]; points\n"
        "                        numbers [N,D]; bits booleans of either form (.npy, .npz); "
        "labels\n"
        "                        integers [N]; conditions numbers [N] or "
        "[N,C].  A split is\n"
        "                        a word of the name or the group of an .h5: x_test, "
        "train/images\n"
        "    images              a folder of PNG and JPEG files; a JPEG file\n"
        "    MNIST, QMNIST       IDX files of images, and of labels of 8, 16 or 32 bits; .gz; "
        "their folder\n"
        "    CIFAR-10, CIFAR-100 binary batches; .gz; their folder.  PNG sheets with JSON "
        "labels (CIFAR-10)\n"
        "    pickles             none: scripts/unpickle makes an .npz of them\n"
        "    text                any other .txt, and with one of the options of texts any "
        "file: cut 90/5/5\n"
        "                        into train, valid and test unless its split is said, by its "
        "name or --split\n"
        "    density:NAME:N[:SEED]  N training and N/5 test rows of the 2-D density "
        "checkerboard, ring or\n"
        "                        swiss_roll, of heartbeat, 20 bits, or of markov, 32 symbols "
        "of "
        "text;\n"
        "                        with its entropy in nats and the log-density of each row\n"
        "    known:FILE.h5:GROUP:N[:SEED]  the same of a distribution over levels that a file "
        "has "
        "in full:\n"
        "                        GROUP/p, the chances of all states, or start and transition "
        "of a chain\n"
        "                        along an image, with its image_shape\n"
        "  OUT.h5       dataset; an older file is replaced only by a whole new one\n"
        "  --split NAME=SOURCE\n"
        "               SOURCE, one of those given or one more, is of the split NAME (train, "
        "valid or\n"
        "               test), whatever names say; may be repeated.  Folders in it are "
        "classes\n"
        "  --label COLUMN\n"
        "               of a table of numbers (.csv, .tsv; .txt and .dat of numbers): the "
        "column of\n"
        "               classes, by its name or its number from 1, or none; by default the one "
        "that\n"
        "               is called label, labels, class, target or y\n"
        "  --condition COLUMN\n"
        "               a column that conditions the others; may be repeated; kept in the "
        "dataset\n"
        "  --alpha drop an alpha channel is taken away; without it images that have one are "
        "refused\n"
        "  --grey       colours become (19595 R + 38470 G + 7471 B + 32768) / 65536, the luma "
        "of\n"
        "               Rec. 601\n"
        "  --rgb        grey becomes red, green and blue of its value\n"
        "  --crop N     the central N x N pixels, or HxW: rows from (h - H)/2, columns from (w "
        "- "
        "W)/2\n"
        "  --resize N   the smaller side becomes N, or all becomes HxW; bilinear, antialiased, "
        "rounded.\n"
        "               In this order: CelebA as published is --crop 140 --resize 64\n"
        "  --shrink K   images made smaller: a pixel is the mean of a K x K square, rounded;\n"
        "               K must divide height and width\n"
        "  --levels K   images have K levels, 0 to K-1, not 256, as label maps do; a larger "
        "value is refused\n"
        "  --binarise RULE  black and white, last of all.  threshold: 1 of the upper half of "
        "the levels;\n"
        "               drawn:SEED: 1 with the chance k/(levels - 1), once for all; drawn is "
        "drawn:0;\n"
        "               drawn:SEED:COPIES: so many draws of each training image.  A row and a "
        "split have\n"
        "               their own draws\n"
        "  --text RULE  how a text becomes symbols.  as-is: the bytes that occur; text8: blank "
        "and a to z,\n"
        "               capitals made small, digits spelled, all else blank, blanks folded; "
        "bytes: all\n"
        "               256; FILE: a symbol a line (\\n, \\t, \\r, \\\\ and \\xHH as in C), "
        "the "
        "longest that fits\n"
        "               at each place.  The dataset says what each stands for\n"
        "  --length L   symbols a row, by default 256\n"
        "  --rows R     chunks: rows go on through the text; lines: a row is a line, cut where "
        "it is longer\n"
        "  --remainder R  what does not fill the last row of a split.  pad: that row is "
        "shorter, so that no\n"
        "               symbol is lost; drop: it is left out, as older versions did and as "
        "published\n"
        "               text8 results do\n\n"
        "Without --split the name of a source says its split, if one of its words does: train "
        "or\n"
        "training; val, valid, validation or dev; test, testing or t10k; in any case "
        "(train_32x32,\n"
        "VAL, t10k-images; not latest).  In a folder the names of its folders say it: "
        "SPLIT/x.png or\n"
        "SPLIT/CLASS/x.png.  Else it is train.  Classes are numbered in one order over all "
        "splits,\n"
        "numbers as numbers, and their names are kept in the dataset.  What was taken for what "
        "is\n"
        "said in a line a source, and what became of the pixels is in the dataset.  A "
        "likelihood of\n"
        "JPEG files is that of the decoded images.",
    .run = run,
};
