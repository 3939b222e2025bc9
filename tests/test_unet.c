/* The U-net and the encoder of improved and guided diffusion: published names and sizes, constructor arguments,
 * refusals. */
#include "checks.h"
#include "sde_nets.h"

static const pf_shape cifar = {32, 32, 3};

/* The CIFAR-10 network of improved diffusion; the count is that of its published modules. */
static void unets_have_published_names_shapes_and_sizes(void **state)
{
    (void)state;
    static const shaped want[] = {
        {"time_embed.0.weight", 2, {512, 128}},
        {"input_blocks.0.0.weight", 4, {128, 3, 3, 3}},
        {"input_blocks.1.0.emb_layers.1.weight", 2, {256, 512}},
        {"input_blocks.4.0.op.weight", 4, {128, 128, 3, 3}},
        {"input_blocks.5.0.skip_connection.weight", 4, {256, 128, 1, 1}},
        {"input_blocks.5.1.qkv.weight", 3, {768, 256, 1}},
        {"middle_block.1.proj_out.bias", 1, {256}},
        {"output_blocks.0.0.in_layers.2.weight", 4, {256, 512, 3, 3}},
        {"output_blocks.3.1.conv.weight", 4, {256, 256, 3, 3}},
        {"output_blocks.7.2.conv.weight", 4, {256, 256, 3, 3}},
        {"output_blocks.15.0.out_layers.3.weight", 4, {128, 128, 3, 3}},
        {"out.2.weight", 4, {3, 128, 3, 3}},
    };
    pf_net *n = net("unet", "", "vp", cifar);
    check_shapes(n, want, sizeof want / sizeof *want);
    assert_int_equal(trainable(n), 52542979);
    pf_net_free(n);
}

static void a_unet_says_what_does_not_fit(void **state)
{
    (void)state;
    static const struct {
        const char *model, *settings, *words;
        pf_shape s;
    } wrong[] = {
        {"unet", "", "28x28 cannot be halved 3 times", {28, 28, 1}},
        {"unet", "width=48;multipliers=1", "48 channels, want a multiple of 32", {8, 8, 1}},
        {"unet", "multipliers=1;heads=3", "3 heads do not share 128 channels", {8, 8, 1}},
        {"unet", "multipliers=1;head_channels=48", "model.head_channels is 48", {8, 8, 1}},
        {"unet", "multipliers=1;embed=5", "5 features", {8, 8, 1}},
        {"unet", "multipliers=", "model.multipliers is empty", {8, 8, 1}},
        {"unet", "label=true", "reads an input label", {32, 32, 3}},
        {"encoder", "", "not an image of 32x32x3", {32, 32, 3}},
        {"encoder", "multipliers=1", "needs model.head_channels", {1, 1, 1}},
    };
    pf_sde sde;
    assert_int_equal(pf_sde_init("vp", &sde), PF_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        pf_model m = model(wrong[i].model, wrong[i].settings);
        pf_net *n = NULL;
        assert_true(create(&m, &sde, wrong[i].s, &n) != PF_OK);
        if (!strstr(pf_error_message(), wrong[i].words)) fail_msg("%s", pf_error_message());
    }
    /* not square, no resampling by convolutions */
    pf_net_free(net("unet", "width=32;multipliers=1,2;blocks=1;conv_resample=0;order=qkv_first",
                    "vp", (pf_shape){6, 10, 3}));
}

#define ADM(class, more)                                                                     \
    "{\"image_size\": 32, \"in_channels\": 3, \"model_channels\": 64, \"out_channels\": 6, " \
    "\"num_res_blocks\": 2, \"network\": \"guided_diffusion.unet." class "\"" more "}"

static void constructor_arguments_are_checked(void **state)
{
    (void)state;
    refused(ADM("UNetModel", ", \"pool\": \"spatial\""), PF_EARG, "pool");
    refused(ADM("UNetModel", ", \"channel_mult\": \"1,x\""), PF_EARG, "channel_mult");
    refused(ADM("UNetModel", ", \"dims\": 3"), PF_EARG, "dims");
    refused(ADM("EncoderUNetModel", ", \"num_classes\": 3"), PF_EARG, "num_classes");
    refused("{\"network\": \"guided_diffusion.unet.UNetModel\"}", PF_EFORMAT, "model_channels");
}

static void became(const char *json, const char *name, const char *sets)
{
    pf_model want = model(name, sets);
    pf_published p = {0};
    assert_int_equal(pf_published_options(json, &p), PF_OK);
    assert_memory_equal(&p.model, &want, sizeof want);
}

static void constructor_arguments_become_options(void **state)
{
    (void)state;
    pf_published p = {.shape = {16, 64, 3}};
    became(ADM("UNetModel", ", \"num_classes\": null, \"fixed\": {\"norm\": \"group\"}, "
                            "\"channel_mult\": [1, 2], \"attention_resolutions\": [2, 3, 16]"),
           "unet",
           "width=64;multipliers=1,2;blocks=2;attention=16;heads=1;dropout=0;"
           "scale_shift=0");
    became(ADM("EncoderUNetModel", ", \"channel_mult\": [0.5, 1, 2], \"pool\": \"spatial\", "
                                   "\"num_head_channels\": 32, \"num_heads_upsample\": -1, "
                                   "\"use_new_attention_order\": true"),
           "encoder",
           "width=32;multipliers=1,2,4;embed=64;blocks=2;attention=;heads=1;dropout=0;"
           "scale_shift=0;head_channels=32;order=qkv_first;pool=spatial");
    assert_int_equal(pf_published_options(
                         ADM("UNetModel", ", \"num_classes\": 7, \"resblock_updown\": true, "
                                          "\"attention_resolutions\": [4]"),
                         &p),
                     PF_OK);
    const pf_opt attention = pf_opt_find(p.model.ops->opts, "attention");
    const pf_ints *w = (const pf_ints *)((const char *)&p.model.opt + attention.offset);
    assert_int_equal(w->n, 1);
    assert_int_equal(w->v[0], 16); /* of the width 64 that was known */
    assert_int_equal(p.classes, 7);
    assert_int_equal(p.out.h, 16);
    assert_int_equal(p.out.c, 6);
    assert_int_equal(pf_published_options(ADM("EncoderUNetModel", ""), &p), PF_OK);
    assert_int_equal(p.out.h, 1);
    assert_int_equal(p.classes, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unets_have_published_names_shapes_and_sizes),
        cmocka_unit_test(a_unet_says_what_does_not_fit),
        cmocka_unit_test(constructor_arguments_become_options),
        cmocka_unit_test(constructor_arguments_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
