distill = dict(
    temperature=0.5, alpha=1e-3, beta=5e-4, gamma=5e-4, lambda_=5e-6)
