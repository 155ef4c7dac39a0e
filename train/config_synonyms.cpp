#include "train/config_synonyms.h"

namespace weir {
namespace {

// The words of nanoGPT, Hugging Face's transformers, fairseq, Megatron-LM, PyTorch Lightning, llm.c and Transformer-XL.
// Who counts epochs is led to the limits that a run can have.
constexpr Synonyms table[] = {
    {"name", "run_name exp_name experiment_name wandb_run_name"},

    {"model", "network transformer architecture transformer_xl"},
    {"model.vocabulary", "vocab_size vocab n_vocab n_token ntokens"},
    {"model.d_model", "n_embd n_embed hidden_size hidden_dim embed_dim embedding_size d_embed width dim"},
    {"model.layers", "n_layer n_layers num_layers num_hidden_layers nlayers depth"},
    {"model.heads", "n_head n_heads num_heads num_attention_heads nhead"},
    {"model.head_size", "d_head head_dim dim_head"},
    {"model.dropout", "drop hidden_dropout resid_pdrop attn_pdrop embd_pdrop"},
    {"model.segment",
     "block_size seq_len seq_length sequence_length max_seq_len max_seq_length context_length context_size context "
     "ctx_len n_ctx n_positions bptt tgt_len unroll_len"},
    {"model.memory", "mem mem_len memory_length"},
    {"model.checkpoint_activations",
     "gradient_checkpointing activation_checkpointing grad_checkpointing recompute remat"},
    {"model.precision", "dtype torch_dtype mixed_precision bf16 fp16 amp"},

    {"feedforward", "ffn mlp moe"},
    {"feedforward.kind", "ffn_type mlp_type ffn mlp"},
    {"feedforward.d_ff",
     "d_inner n_inner ffn_dim ffn_size ff_dim mlp_dim intermediate_size ffn_hidden_size dim_feedforward"},
    {"feedforward.experts", "num_experts n_experts num_local_experts n_routed_experts moe_num_experts"},
    {"feedforward.expert_size", "d_expert expert_dim moe_intermediate_size expert_hidden_size"},
    {"feedforward.k", "top_k topk moe_top_k num_experts_per_tok experts_per_token num_selected_experts"},
    {"feedforward.expert_dropout", "moe_dropout"},
    {"feedforward.regulariser", "regularizer aux_loss balance_loss load_balancing"},
    {"feedforward.regulariser_weight",
     "regularizer_weight aux_loss_weight aux_loss_alpha router_aux_loss_coef load_balancing_weight"},
    {"feedforward.sub_keys", "n_keys num_keys n_subkeys"},
    {"feedforward.activation", "act activation_function hidden_act"},
    {"feedforward.init", "initialization initialisation"},

    {"data", "dataset datasets"},
    {"data.train", "data dataset data_path data_dir train_file train_data training_data corpus text file path"},
    {"data.valid", "validation validation_file valid_file valid_data val_data val eval_data"},
    {"data.valid_fraction", "validation_split val_split val_fraction"},

    {"train", "training trainer"},
    {"train.batch_size",
     "batch batchsize bsz n_batch train_batch_size per_device_train_batch_size micro_batch_size global_batch_size"},
    {"train.accumulate",
     "accum grad_accum gradient_accumulation_steps grad_accumulation_steps accumulation_steps "
     "accumulate_grad_batches"},
    {"train.steps",
     "max_steps max_iters iterations iters num_steps n_steps total_steps num_iterations max_update epochs epoch "
     "num_epochs n_epochs num_train_epochs max_epochs"},
    {"train.tokens",
     "num_tokens total_tokens train_tokens epochs epoch num_epochs n_epochs num_train_epochs max_epochs"},
    {"train.minutes", "max_time max_minutes hours time time_limit"},
    {"train.seed", "random_seed rng_seed manual_seed"},
    {"train.threads", "num_threads n_threads workers num_workers"},
    {"train.log_every", "log_interval logging_steps log_steps log_freq print_every log_every_n_steps"},

    {"optimizer", "optim optimiser optimization"},
    {"optimizer.kind", "optimizer_type optim_type optimizer_name"},
    {"optimizer.no_decay", "no_weight_decay no_decay_params"},
    {"optimizer.lr", "learning_rate max_lr peak_lr base_lr"},
    {"optimizer.warmup_steps", "warmup warm_up warmup_iters num_warmup_steps lr_warmup_steps warmup_updates"},
    {"optimizer.decay_steps", "lr_decay_iters lr_decay_steps decay_iters t_max"},
    {"optimizer.schedule", "scheduler lr_scheduler lr_scheduler_type lr_decay_style lr_schedule decay_lr"},
    {"optimizer.min_lr", "lr_min eta_min min_learning_rate final_lr end_lr"},
    {"optimizer.beta1", "betas adam_beta1 b1 momentum"},
    {"optimizer.beta2", "betas adam_beta2 b2"},
    {"optimizer.eps", "epsilon adam_epsilon adam_eps"},
    {"optimizer.weight_decay", "wd l2"},
    {"optimizer.clip",
     "grad_clip gradient_clip gradient_clipping max_grad_norm clip_grad clip_grad_norm clip_norm "
     "gradient_clip_val"},

    {"eval", "evaluation evaluate valid validation"},
    {"eval.every",
     "eval_every eval_interval eval_steps eval_freq val_every val_interval val_check_interval evaluation_interval"},
    {"eval.batch_size", "eval_batch_size val_batch_size per_device_eval_batch_size"},
    {"eval.memory", "eval_memory eval_mem_len"},
    {"eval.max_tokens", "eval_tokens eval_iters max_eval_steps eval_batches"},

    {"checkpoint", "checkpoints checkpointing save saving"},
    {"checkpoint.every",
     "save_every save_interval save_steps checkpoint_interval checkpoint_every ckpt_every save_freq"},
    {"checkpoint.keep_last", "save_total_limit save_top_k max_to_keep"},
    {"checkpoint.keep_best", "save_best load_best_model_at_end"},

    {"sample", "samples sampling generation generate"},
    {"sample.every", "sample_every sample_interval"},
    {"sample.tokens", "max_new_tokens sample_tokens"},
    {"sample.temperature", "temp"},
    {"sample.top_k", "topk"},

    {"the option --device", "device gpu cuda accelerator"},
    {"the option --run", "out_dir output_dir output out run_dir save_dir checkpoint_dir log_dir work_dir"},
    {"the option --resume", "resume continue resume_from resume_from_checkpoint init_from continue_training"},
    {"'weir prepare --tokenizer', and data.train=FOLDER", "tokenizer tokenizer_path tokenizer_name tokenizer_file"},
    {"its name alone, in first place: quickstart, or my.toml", "preset config config_file config_path cfg"},
    {"'weir sweep FILE', which trains variants", "variant seeds"},
    {"[[variant]], in a file for 'weir sweep'", "variants"},
};

}  // namespace

std::span<const Synonyms> synonyms_of_settings() { return table; }

}  // namespace weir
