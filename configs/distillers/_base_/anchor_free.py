distill = dict(
    temperature=0.5, alpha=1.6e-3, beta=8e-4, gamma=8e-4, lambda_=8e-6)
