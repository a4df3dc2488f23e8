//! The flags of `longhand train` that make a recipe, laid over another one.

use std::num::{NonZeroU32, NonZeroUsize};

use clap::ValueEnum;

use crate::commands::Failure;
use longhand::optimisers::{Adam, Anneal, Optimiser, Schedule, Sgd};
use longhand::training::Recipe;

// Every flag is optional: what is not given is as in the recipe below.
#[derive(clap::Args)]
#[command(next_help_heading = "Settings of training")]
pub struct RecipeArgs {
    /// Passes over the training set [default: 5]
    #[arg(long, value_name = "N")]
    epochs: Option<NonZeroU32>,
    /// Images in a step [default: 32]
    #[arg(long, value_name = "N")]
    batch_size: Option<NonZeroUsize>,
    /// What the first weights, the order of the images and dropout are drawn from [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How gradients change the weights [default: sgd]
    #[arg(long, value_enum, alias = "optimiser", value_name = "NAME")]
    optimizer: Option<OptimizerName>,
    /// Learning rate, for one-cycle the highest (max_lr) [default: 0.01 for sgd, 0.001 for adam and
    /// adamw]
    #[arg(long, value_name = "X", value_parser = not_negative, allow_negative_numbers = true)]
    lr: Option<f64>,
    /// L2 penalty; for adamw the decoupled decay [default: 0, for adamw 0.01]
    #[arg(long, value_name = "X", value_parser = not_negative, allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// sgd: momentum [default: 0.5]
    #[arg(long, value_name = "X", value_parser = not_negative, allow_negative_numbers = true)]
    momentum: Option<f64>,
    /// sgd: Nesterov's momentum
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true")]
    nesterov: Option<bool>,
    /// adam, adamw: how much of the mean of gradients a step keeps (the first of betas) [default: 0.9]
    #[arg(long, value_name = "X", value_parser = share, allow_negative_numbers = true)]
    beta1: Option<f64>,
    /// adam, adamw: how much of the mean of squared gradients a step keeps (the second of betas)
    /// [default: 0.999]
    #[arg(long, value_name = "X", value_parser = share, allow_negative_numbers = true)]
    beta2: Option<f64>,
    /// adam, adamw: what keeps the division from being by 0 [default: 1e-8]
    #[arg(long, value_name = "X", value_parser = not_negative, allow_negative_numbers = true)]
    eps: Option<f64>,
    /// How the learning rate goes over the run [default: constant]
    #[arg(long, value_enum, value_name = "NAME")]
    schedule: Option<ScheduleName>,
    /// step: after how many epochs the rate falls (step_size of StepLR)
    #[arg(long, value_name = "N")]
    step_epochs: Option<NonZeroU32>,
    /// step: what the rate is then multiplied with [default: 0.1]
    #[arg(long, value_name = "X", value_parser = not_negative, allow_negative_numbers = true)]
    gamma: Option<f64>,
    /// one-cycle: the share of the run in which the rate rises (pct_start of OneCycleLR) [default: 0.3]
    #[arg(long, value_name = "X", value_parser = share, allow_negative_numbers = true)]
    warm_up: Option<f64>,
    /// one-cycle: along which line the rate rises and falls (anneal_strategy) [default: cosine]
    #[arg(long, value_enum, value_name = "NAME")]
    anneal: Option<AnnealName>,
    /// Shorten gradients to this norm (max_norm of clip_grad_norm_); 0 for no limit [default: 0]
    #[arg(long, value_name = "X", value_parser = not_negative, allow_negative_numbers = true)]
    clip_norm: Option<f64>,
    /// The share of the target that goes to all classes alike; the training loss has it, the test loss
    /// not [default: 0]
    #[arg(long, value_name = "X", value_parser = share, allow_negative_numbers = true)]
    label_smoothing: Option<f64>,
    /// Test and save a running average of the weights, of which each step keeps this share (decay of
    /// get_ema_multi_avg_fn); 0 for none [default: 0]
    #[arg(long, value_name = "X", value_parser = share, allow_negative_numbers = true)]
    average: Option<f64>,
    /// Hold out the last N training images; the best epoch by them is best.safetensors
    /// [default: 0]
    #[arg(long, value_name = "N")]
    validation: Option<usize>,
    /// Stop after N epochs without a better validation; 0 for never [default: 0]
    #[arg(long, value_name = "N")]
    patience: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum OptimizerName {
    Sgd,
    Adam,
    Adamw,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum ScheduleName {
    /// The rate stays
    Constant,
    /// It falls at once, every --step-epochs
    Step,
    /// It falls along half a cosine, to 0
    Cosine,
    /// It rises from 1/25 of --lr in the --warm-up, then falls to nearly 0
    OneCycle,
}

#[derive(Clone, Copy, ValueEnum)]
enum AnnealName {
    /// Half a cosine
    Cosine,
    /// A straight line
    Linear,
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err("it must be a number of at least 0".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..1.0).contains(&number) => Ok(number),
        _ => Err("it must be a number of at least 0 and below 1".to_owned()),
    }
}

/// Puts the value of a flag in its place, if the flag was given.
fn set<T: Copy>(place: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *place = value;
    }
}

/// The same where 0 means none.
fn set_or_none<T: Copy + Default + PartialEq>(place: &mut Option<T>, flag: Option<T>) {
    if let Some(value) = flag {
        *place = (value != T::default()).then_some(value);
    }
}

impl RecipeArgs {
    /// The recipe that these flags make of `base`.
    pub fn over(&self, base: Recipe) -> Result<Recipe, Failure> {
        let mut recipe = Recipe {
            optimiser: self.optimiser(base.optimiser)?,
            schedule: self.schedule(base.schedule)?,
            ..base
        };
        set(&mut recipe.epochs, self.epochs.map(NonZeroU32::get));
        set(
            &mut recipe.batch_size,
            self.batch_size.map(NonZeroUsize::get),
        );
        set(&mut recipe.seed, self.seed);
        set(&mut recipe.label_smoothing, self.label_smoothing);
        set(&mut recipe.validation, self.validation);
        set_or_none(&mut recipe.clip_norm, self.clip_norm);
        set_or_none(&mut recipe.average, self.average);
        set_or_none(&mut recipe.patience, self.patience);
        // A record that somebody has edited may say what no flag can.
        if recipe.epochs == 0 {
            return Err(Failure::Usage("a run has at least 1 epoch".to_owned()));
        }
        if recipe.patience.is_some() && recipe.validation == 0 {
            return Err(Failure::Usage("--patience needs --validation".to_owned()));
        }
        // What the flags allow one by one may still not go together.
        let check = recipe.rule(1).check();
        check.map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(recipe)
    }

    fn optimiser(&self, base: Optimiser) -> Result<Optimiser, Failure> {
        let name = |optimiser: &Optimiser| match optimiser {
            Optimiser::Sgd(_) => OptimizerName::Sgd,
            Optimiser::Adam(adam) if adam.decoupled => OptimizerName::Adamw,
            Optimiser::Adam(_) => OptimizerName::Adam,
        };
        let mut optimiser = match self.optimizer {
            Some(asked) if asked != name(&base) => match asked {
                OptimizerName::Sgd => Optimiser::Sgd(Sgd::default()),
                OptimizerName::Adam => Optimiser::Adam(Adam::default()),
                OptimizerName::Adamw => Optimiser::Adam(Adam::adamw()),
            },
            _ => base,
        };
        match &mut optimiser {
            Optimiser::Sgd(sgd) => {
                set(&mut sgd.lr, self.lr);
                set(&mut sgd.weight_decay, self.weight_decay);
                set(&mut sgd.momentum, self.momentum);
                set(&mut sgd.nesterov, self.nesterov);
                refuse(
                    "--optimizer adam or adamw",
                    &[
                        ("--beta1", self.beta1.is_some()),
                        ("--beta2", self.beta2.is_some()),
                        ("--eps", self.eps.is_some()),
                    ],
                )?;
            }
            Optimiser::Adam(adam) => {
                set(&mut adam.lr, self.lr);
                set(&mut adam.weight_decay, self.weight_decay);
                set(&mut adam.beta1, self.beta1);
                set(&mut adam.beta2, self.beta2);
                set(&mut adam.eps, self.eps);
                refuse(
                    "--optimizer sgd",
                    &[
                        ("--momentum", self.momentum.is_some()),
                        ("--nesterov", self.nesterov.is_some()),
                    ],
                )?;
            }
        }
        Ok(optimiser)
    }

    fn schedule(&self, base: Schedule) -> Result<Schedule, Failure> {
        let name = |schedule: &Schedule| match schedule {
            Schedule::Constant => ScheduleName::Constant,
            Schedule::Step { .. } => ScheduleName::Step,
            Schedule::Cosine => ScheduleName::Cosine,
            Schedule::OneCycle { .. } => ScheduleName::OneCycle,
        };
        let mut schedule = match self.schedule {
            Some(asked) if asked != name(&base) => match asked {
                ScheduleName::Constant => Schedule::Constant,
                ScheduleName::Step => {
                    let Some(every) = self.step_epochs else {
                        let message = "--schedule step needs --step-epochs";
                        return Err(Failure::Usage(message.to_owned()));
                    };
                    Schedule::Step {
                        every: every.get(),
                        gamma: 0.1,
                    }
                }
                ScheduleName::Cosine => Schedule::Cosine,
                ScheduleName::OneCycle => Schedule::OneCycle {
                    warm_up: 0.3,
                    anneal: Anneal::Cosine,
                },
            },
            _ => base,
        };
        let of_step = [
            ("--step-epochs", self.step_epochs.is_some()),
            ("--gamma", self.gamma.is_some()),
        ];
        let of_one_cycle = [
            ("--warm-up", self.warm_up.is_some()),
            ("--anneal", self.anneal.is_some()),
        ];
        if let Schedule::Step { every, gamma } = &mut schedule {
            set(every, self.step_epochs.map(NonZeroU32::get));
            set(gamma, self.gamma);
        } else {
            refuse("--schedule step", &of_step)?;
        }
        if let Schedule::OneCycle { warm_up, anneal } = &mut schedule {
            set(warm_up, self.warm_up);
            let asked = self.anneal.map(|name| match name {
                AnnealName::Cosine => Anneal::Cosine,
                AnnealName::Linear => Anneal::Linear,
            });
            set(anneal, asked);
        } else {
            refuse("--schedule one-cycle", &of_one_cycle)?;
        }
        Ok(schedule)
    }
}

/// Refuses flags that were given and would do nothing, for they belong to what was not asked for.
fn refuse(owner: &str, flags: &[(&str, bool)]) -> Result<(), Failure> {
    match flags.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Failure::Usage(format!("{flag} belongs to {owner}"))),
        None => Ok(()),
    }
}
